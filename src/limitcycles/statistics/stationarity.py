"""The gate before any "steady state": equal halves.

A test of equivalence: a pass says that a deviation larger than a stated tolerance is
excluded. A run too short to tell does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from limitcycles.statistics.blocks import SeriesError, probability
from limitcycles.statistics.long_run import BATCHES, batch_means


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
