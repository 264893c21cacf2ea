"""The gate before any "steady state": equal halves, and a fluctuation–dissipation relation.

Both are tests of equivalence: a pass says that a deviation larger than a stated tolerance is
excluded. A run too short to tell does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from limitcycles.statistics.blocks import SeriesError, probability
from limitcycles.statistics.long_run import BATCHES, batch_means, batches_of


@dataclass(frozen=True)
class Halves:
    """The second half of a run against the first, per direction; arrays of shape (direction,).

    `shift`: difference of the means over the deviation s of the whole run; `log_ratio`: log of the
    ratio of the variances, nats; `_low` and `_high` are ends of their intervals at level
    1 − 2(1 − level), which lie within ±tolerance if both one-sided tests reject at 1 − level.
    `same` says for each direction whether all do.
    """

    shift: np.ndarray
    shift_low: np.ndarray
    shift_high: np.ndarray
    log_ratio: np.ndarray
    log_ratio_low: np.ndarray
    log_ratio_high: np.ndarray
    same: np.ndarray

    @property
    def passed(self) -> bool:
        """Whether all directions pass: an intersection of tests, which needs no correction."""
        return bool(self.same.all())


def halves(
    series,
    *,
    shift: float = 0.5,
    ratio: float = 1.5,
    level: float = 0.95,
    batches: int = BATCHES,
) -> Halves:
    """Test that the halves of `series` (step, direction) have equal means and variances.

    Passes where |m₂ − m₁| < `shift` · s and 1/`ratio` < s₂²/s₁² < `ratio`, each by two one-sided t
    tests at `level` (Schuirmann 1987). Errors by batch means, `batches` // 2 in each half, so that
    they account for correlation within a batch; the variance of a half is the mean of (x − m)² with
    m its own mean, and the logarithm's error that of the mean over it. For correlation times of the
    order of a batch the errors are too small; halves of such series are seldom equal. With these
    tolerances a plane of an OU process passes half of the time if the run has 400 relaxation times,
    nearly always with 1,000, and hardly ever with 200.

    Raises SeriesError: tolerances that are not positive or not above 1, too few steps.
    """
    probability(level)
    if not (shift > 0 and ratio > 1):
        raise SeriesError(f"a shift is positive and a ratio above 1, not {shift} and {ratio}")
    series = np.asarray(series, dtype=np.float64)
    if series.ndim != 2 or not np.isfinite(series).all():
        raise SeriesError(
            f"a finite array (step, direction) is needed, not of shape {series.shape}"
        )
    length = len(series) // 2
    parts = series[-2 * length : -length], series[-length:]
    means = [batch_means(part, batches=batches // 2) for part in parts]
    squares = [
        batch_means((part - m.mean) ** 2, batches=batches // 2)
        for part, m in zip(parts, means, strict=True)
    ]
    deviation = series.std(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = (means[1].mean - means[0].mean) / deviation
        moved_error = np.hypot(means[0].error, means[1].error) / deviation
        change = np.log(squares[1].mean / squares[0].mean)
        change_error = np.hypot(*(s.error / s.mean for s in squares))
    t = stats.t.ppf(level, means[0].freedom)  # the smaller of the freedoms that Welch's test allows
    low, high = moved - t * moved_error, moved + t * moved_error
    log_low, log_high = change - t * change_error, change + t * change_error
    same = (low > -shift) & (high < shift)
    same &= (log_low > -np.log(ratio)) & (log_high < np.log(ratio))
    return Halves(moved, low, high, change, log_low, log_high, same)


# ---------------------------------------------------------------- fluctuation and dissipation


@dataclass(frozen=True)
class Relation:
    """The two sides of FDR1 and their ratio `ratio` = dissipation/fluctuation with its interval."""

    dissipation: float
    fluctuation: float
    ratio: float
    low: float
    high: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the whole interval lies within 1 ± tolerance."""
        return 1 - self.tolerance < self.low and self.high < 1 + self.tolerance


def fluctuation_dissipation_terms(
    positions, gradients, velocities, *, rate: float, momentum: float = 0.0, nesterov: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of FDR1 for every step; each of shape (step,), in nats.

    `positions` θ (step, weight) before each step, `gradients` g the ones used by it (mini-batch,
    with weight decay) and `velocities` v the buffers of torch.optim.SGD after it: v ← μv + g, then
    θ ← θ − ηu with u = v (heavy ball) or u = g + μv (Nesterov). Stationarity of E|θ|² gives
    E[θ·u] = (η/2)E|u|²; heavy ball: E[θ·v] of a step's start and old buffer follows from
    θ' = θ − ηv', E[θ'·v'] = E[θ·v'] − ηE|v|², and E[θ·v'] = μE[θ·v] + E[θ·g], so that

        heavy ball:  E[θ·g] = (η/2)(1 + μ) E|v|²
        Nesterov:    E[θ·g] = (η/2)(1 − μ) E|u|² + ημ² E[u·v]

    (μ = 0: E[θ·g] = (η/2)E|g|²). This is FDR1 of Yaida (2019, arXiv 1810.00004), whose velocity is
    −ηv. With independent noise v of the variance of |g|²/(1 − μ²), the right side is
    (η/2)E|g|²/(1 − μ). θ is taken from its mean over the steps given, which changes nothing in a
    stationary state (E g = 0) and much in the error.

    With mini-batch gradients of the steps themselves, the averages differ by boundary terms only,
    those of |θ|² and θ·v: the relation then tests that these have no drift, and no more. With the
    full gradient for g on the left (allowed where batches are drawn independently of θ, not
    within an epoch without replacement) it tests the gradient too.
    """
    theta, g, v = (np.asarray(a, dtype=np.float64) for a in (positions, gradients, velocities))
    if theta.ndim != 2 or theta.shape != g.shape or theta.shape != v.shape:
        raise SeriesError(
            "positions, gradients and velocities have one shape (step, weight), not "
            f"{theta.shape}, {g.shape} and {v.shape}"
        )
    if not (rate > 0 and 0 <= momentum < 1):
        raise SeriesError(f"rate > 0 and 0 ≤ momentum < 1, not {rate} and {momentum}")
    dissipation = np.einsum("ij,ij->i", theta - theta.mean(0), g)
    if not nesterov:
        return dissipation, rate / 2 * (1 + momentum) * np.einsum("ij,ij->i", v, v)
    u = g + momentum * v
    fluctuation = rate / 2 * (1 - momentum) * np.einsum("ij,ij->i", u, u)
    return dissipation, fluctuation + rate * momentum**2 * np.einsum("ij,ij->i", u, v)


def steps_of(positions, *, rate: float, momentum: float) -> tuple[np.ndarray, ...]:
    """(θ, g, v) of steps of heavy ball or plain SGD, from the weights after each of them.

    `positions` (step + 2, weight), consecutive, at a constant rate: v' = (θ − θ')/η and
    g = v' − μv. Each result has shape (step, weight); the first step has no old buffer and is left
    out. Not for Nesterov, whose buffer cannot be read off the weights so simply. Differences of
    float32 weights carry their rounding, about 6·10⁻⁸|θ|/η in v.
    """
    theta = np.asarray(positions, dtype=np.float64)
    if theta.ndim != 2 or len(theta) < 4:
        raise SeriesError(f"positions have shape (step, weight), not {theta.shape}, four at least")
    v = (theta[:-1] - theta[1:]) / rate
    return theta[1:-1], v[1:] - momentum * v[:-1], v[1:]


def fluctuation_dissipation(
    dissipation,
    fluctuation,
    *,
    tolerance: float = 0.1,
    level: float = 0.95,
    batches: int = BATCHES,
) -> Relation:
    """Test FDR1 on its two sides, series (step,) of the same or of different lengths.

    The interval of the ratio of the means is at 1 − 2(1 − level), so that a pass is a test at
    1 − level, from the linear expansion of the ratio: batch means of l − ratio·r where the two have
    the same steps (their errors are correlated), of each where they have not. Raises SeriesError:
    too few steps, a fluctuation that is not positive.
    """
    probability(level)
    left, right = (np.asarray(a, dtype=np.float64) for a in (dissipation, fluctuation))
    if left.ndim != 1 or right.ndim != 1:
        raise SeriesError(f"both sides are series (step,), not {left.shape} and {right.shape}")
    means = [float(batches_of(side, batches).mean()) for side in (left, right)]
    if not means[1] > 0:
        raise SeriesError(f"the mean fluctuation is {means[1]:g}: it has to be positive")
    ratio = means[0] / means[1]
    if left.shape == right.shape:
        error = float(batch_means(left - ratio * right, batches=batches).error) / means[1]
    else:
        errors = [float(batch_means(side, batches=batches).error) for side in (left, right)]
        error = float(np.hypot(errors[0], ratio * errors[1])) / means[1]
    half = float(stats.t.ppf(level, batches - 1)) * error
    return Relation(*means, ratio, ratio - half, ratio + half, tolerance)
