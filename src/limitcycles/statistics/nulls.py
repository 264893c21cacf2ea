"""Nulls fitted to each weight, and envelopes of a statistic under them.

All are the same process with parameters fixed or free, for one weight x over epochs k:

    x_{k+1} − m = φ (x_k − m) + ε_{k+1} + θ ε_k,   ε_k independent, normal, with deviation s

- "white-noise": φ = θ = 0;  "random-walk": φ = 1, θ = 0, no drift, m the first value;
- "ornstein-uhlenbeck": θ = 0: an OU process of relaxation time −1/log φ seen once an epoch;
- "epoch-noise": all free: the noise of an epoch partly undoes that of the epoch before, θ < 0 (or
  momentum carries it over, θ > 0).

A null is fitted to the very series it is compared with. That makes the envelope of a statistic
that the fit uses somewhat too wide or too narrow, by an amount of order 1/n; for relaxation times
of the order of the length the estimate of φ is far from normal and on average too low, by about
4/n, so that such a fit stands for the shorter of the relaxation times that the run allows, and
the random walk has to be put beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, signal

from limitcycles.statistics.blocks import SeriesError, blocks, probability

NULLS = ("white-noise", "random-walk", "ornstein-uhlenbeck", "epoch-noise")


@dataclass(frozen=True)
class Fit:
    """One null fitted to each of some weights; `mean`, `phi`, `theta`, `noise` of shape (weight,).

    `mean` is m (the first value where φ = 1) and `noise` the deviation s of ε, in units of the
    weight. `length` is the number of epochs that were fitted.
    """

    null: str
    mean: np.ndarray
    phi: np.ndarray
    theta: np.ndarray
    noise: np.ndarray
    length: int

    @property
    def relaxation(self) -> np.ndarray:
        """−1/log φ in epochs; infinite for φ = 1, NaN for φ ≤ 0. Shape (weight,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.phi > 0, 1 / np.abs(np.log(self.phi)), np.nan)

    def simulate(self, rng: np.random.Generator, length: int | None = None) -> np.ndarray:
        """One series of each weight; shape (weight, length), in units of the weight.

        Stationary from the first value on where |φ| < 1. `length` is by default that of the fit.
        """
        length = self.length if length is None else length
        rows = [_process(rng, p, t, (1, length)) for p, t in zip(self.phi, self.theta, strict=True)]
        return self.mean[:, None] + self.noise[:, None] * np.concatenate(rows)


def _process(rng, phi: float, theta: float, shape) -> np.ndarray:
    """Series (series, step) of the process with m = 0 and s = 1; from 0 on if φ = 1."""
    noise = rng.standard_normal(shape)
    start = np.zeros((shape[0], 1))
    if phi < 1:
        # x_0 = ε_0 + (φ x_{−1} + θ ε_{−1}), the two independent, with the stationary variance.
        variance = (1 + 2 * phi * theta + theta**2) / (1 - phi**2)
        start = np.sqrt(max(0.0, variance - 1)) * rng.standard_normal((shape[0], 1))
    series = signal.lfilter([1.0, theta], [1.0, -phi], noise, zi=start)[0]
    return series if phi < 1 else series - series[:, :1]


# ---------------------------------------------------------------- fits


def fit(weights, null: str) -> Fit:
    """Fit one of `NULLS` to each weight of `weights` (epoch, weight).

    "white-noise", "random-walk": maximum likelihood. "ornstein-uhlenbeck": maximum of the
    likelihood given the first value, least squares of x_{k+1} on x_k; an estimate φ ≥ 1 becomes 1.
    "epoch-noise": the same given the first value and ε_0 = 0, least squares of ε over φ, m and θ,
    |θ| < 0.998; an estimate φ ≥ 1 becomes a random walk without drift of steps ε_{k+1} + θε_k. For
    θ = −φ all such values give the same process, and φ alone means nothing. Time for 10⁵ epochs:
    milliseconds per weight, some 30 for "epoch-noise".

    Raises SeriesError: another null, a weight that never moves, fewer than 101 epochs.
    """
    if null not in NULLS:
        raise SeriesError(f"a null is one of {', '.join(NULLS)}, not {null!r}")
    parts = []
    for block in blocks(weights, least=101):
        if (still := np.ptp(block, axis=1) == 0).any():
            raise SeriesError(
                f"weight {int(np.argmax(still)) + sum(len(p[0]) for p in parts)} never moves; drop "
                "it (`autocorrelation.moving`)"
            )
        parts.append(_FITS[null](block))
    mean, phi, theta, noise = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Fit(null, mean, phi, theta, noise, weights.shape[0])


def _white_noise(series):
    zero = np.zeros(len(series))
    return series.mean(1), zero, zero, series.std(1)


def _random_walk(series):
    steps = np.sqrt((np.diff(series) ** 2).mean(1))
    return series[:, 0].copy(), np.ones(len(series)), np.zeros(len(series)), steps


def _ornstein_uhlenbeck(series):
    before, after = series[:, :-1], series[:, 1:]
    centre, target = before.mean(1), after.mean(1)
    x, y = before - centre[:, None], after - target[:, None]
    squares = np.einsum("ij,ij->i", x, x)
    still = np.ptp(before, axis=1) == 0  # it moves in the last epoch only: a walk of one step
    phi = np.einsum("ij,ij->i", x, y) / np.where(still, 1.0, squares)
    phi = np.where(still, 1.0, np.minimum(phi, 1.0))
    walk = phi == 1
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (target - phi * centre) / (1 - phi)
    noise = np.sqrt(((y - phi[:, None] * x) ** 2).mean(1))
    if walk.any():
        mean[walk], _, _, noise[walk] = _random_walk(series[walk])
    return mean, phi, np.zeros(len(series)), noise


LIMIT = 7.0  # of |log((1 + θ)/(1 − θ))|: |θ| up to 0.998
WALK = 1 - 1e-9  # φ above it is 1


def _epoch_noise(series):
    grid = np.linspace(-LIMIT, LIMIT, 15)
    centre = series.mean(1)
    results = []
    for x, mean in zip(series - centre[:, None], centre, strict=True):
        if np.ptp(x[:-1]) == 0:  # as above
            results.append((x[0] + mean, 1.0, 0.0, abs(x[-1] - x[0]) / np.sqrt(len(x) - 1)))
            continue
        theta, (phi, intercept, squares) = _best(x, grid, walk=False)
        if phi >= WALK:
            theta, (_, _, squares) = _best(x, grid, walk=True)
            results.append((x[0] + mean, 1.0, theta, np.sqrt(squares)))
        else:
            phi = max(phi, -WALK)
            results.append((mean + intercept / (1 - phi), phi, theta, np.sqrt(squares)))
    return tuple(np.array(values) for values in zip(*results, strict=True))


def _best(x, grid, *, walk: bool):
    """θ of the least squares, and what `_least_squares` gives there."""

    def cost(w):
        return _least_squares(x, np.tanh(w / 2), walk)[2]

    start = int(np.argmin([cost(w) for w in grid]))
    bounds = grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)]
    w = optimize.minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x
    theta = float(np.tanh(w / 2))
    return theta, _least_squares(x, theta, walk)


def _least_squares(x: np.ndarray, theta: float, walk: bool) -> tuple[float, float, float]:
    """(φ, c, mean ε²) for ε_k = x_k − c − φ x_{k−1} − θ ε_{k−1}, ε_0 = 0, the best φ and c.

    All are linear in y = x/(1 + θB), B the shift back; with `walk`, φ = 1 and c = 0.
    """
    y = signal.lfilter([1.0], [1.0, theta], x)
    before, after = y[:-1], y[1:].copy()
    # What ε_0 = 0 leaves out, and the filtered constant: powers of −θ, as long as they count.
    powers = np.empty(0)
    if theta:
        count = min(len(after), int(np.ceil(-40 / np.log(abs(theta)))))
        powers = np.multiply.accumulate(np.full(count, -theta))
    after[: len(powers)] -= powers * x[0]
    if walk:
        residual = after - before
        return 1.0, 0.0, float(residual @ residual) / len(residual)
    ones = np.full(len(after), 1 / (1 + theta))
    ones[: len(powers)] *= 1 - powers
    moments = np.array([[before @ before, before @ ones], [before @ ones, ones @ ones]])
    products = np.array([before @ after, ones @ after])
    phi, c = np.linalg.solve(moments, products)
    squares = float(after @ after - products @ [phi, c]) / len(after)
    return float(phi), float(c), max(squares, 0.0)  # rounding where there is no noise at all


_FITS = dict(
    zip(NULLS, (_white_noise, _random_walk, _ornstein_uhlenbeck, _epoch_noise), strict=True)
)


# ---------------------------------------------------------------- envelopes


@dataclass(frozen=True)
class Envelope:
    """Where a statistic of shape (...) lies under a null, for each weight.

    `low`, `high` (weight, ...) bound the whole statistic at once: a share `level` of simulated
    series lies between them in all its values. `pointwise_low` and `pointwise_high` bound each
    value alone.
    """

    low: np.ndarray
    high: np.ndarray
    pointwise_low: np.ndarray
    pointwise_high: np.ndarray
    level: float

    def inside(self, values) -> np.ndarray:
        """Whether all values (weight, ...) of a weight are within its envelope; (weight,) bool."""
        values = np.asarray(values)
        within = (values >= self.low) & (values <= self.high)
        return within.reshape(len(values), -1).all(1)


def envelope(
    statistic: Callable[[np.ndarray], np.ndarray],
    fits: Fit,
    *,
    level: float,
    seed: int,
    replicates: int = 499,
    shared: bool = True,
    resolution: float = 0.2,
    length: int | None = None,
) -> Envelope:
    """Envelopes of `statistic` under fitted nulls, by simulation; one for each weight.

    `statistic` maps series (series, step) to (series, ...), the same estimator as for the data. The
    simultaneous envelope is mean ± q · deviation over the replicates, q the quantile `level` of the
    largest standardised deviation of a replicate. `seed` fixes all draws.

    `shared`: for a statistic that does not change with shift and scale of a series, as all of this
    package. Weights then share simulations: one set for all random walks, and for the other nulls
    one for all weights with φ and θ equal to within `resolution` in log((1 + φ)/(1 − φ)), which is
    a relative difference of the relaxation time, and the same for θ; relaxation times above 20
    lengths count as that. Otherwise every weight is simulated with its own parameters. Time:
    replicates × groups × (about 4 ms for 10⁵ steps and an FFT or two).

    Raises SeriesError: fewer than 10/(1 − level) replicates, of which fewer than 10 lie outside.
    """
    enough(level, replicates)
    length = fits.length if length is None else length
    parameters, group = _groups(fits, shared, resolution, length)
    streams = np.random.default_rng(seed).spawn(len(parameters))
    found = []
    for rng, (mean, phi, theta, noise) in zip(streams, parameters, strict=True):
        parts, left = [], replicates
        while left:
            rows = min(left, max(1, 2**22 // length))
            parts.append(statistic(mean + noise * _process(rng, phi, theta, (rows, length))))
            left -= rows
        found.append(_bounds(np.concatenate(parts), level))
    return Envelope(*(np.stack(bound)[group] for bound in zip(*found, strict=True)), level)


def enough(level: float, replicates: int) -> None:
    """Raises SeriesError: fewer than 10 of the replicates lie outside an envelope of that level."""
    if (1 - probability(level)) * replicates < 10 * (1 - 1e-9) - 1:
        raise SeriesError(
            f"a level of {level:g} needs at least {int(np.ceil(10 / (1 - level))) - 1} replicates, "
            f"not {replicates}"
        )


def _groups(fits: Fit, shared: bool, resolution: float, length: int):
    """Parameters (group, 4) that are simulated, and the group of each weight."""
    own = np.stack([fits.mean, fits.phi, fits.theta, fits.noise], axis=1)
    if not shared:
        return own, np.arange(len(own))
    scale = np.log(40 * length)
    walk = fits.phi >= 1
    with np.errstate(divide="ignore"):
        keys = 2 * np.arctanh(np.stack([fits.phi, fits.theta], axis=1))
    keys = np.clip(keys, -scale, scale)
    keys[walk, 0] = 2 * scale  # of their own
    rounded = np.round(keys / resolution).astype(int)
    _, first, group = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    parameters = np.zeros((len(first), 4))
    parameters[:, 3] = 1
    for row in range(len(first)):
        phi, theta = np.tanh(np.median(keys[group == row], axis=0) / 2)
        parameters[row, 1:3] = 1.0 if walk[first[row]] else phi, theta
    return parameters, group.ravel()


def _bounds(values: np.ndarray, level: float):
    centre, spread, furthest = standardised(values)
    width = np.quantile(furthest, level, method="higher") * spread
    tails = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return centre - width, centre + width, *tails


def standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation (...) of `values` (replicate, ...), and how many deviations each replicate
    is away where it is furthest, (replicate,).
    """
    centre, spread = values.mean(0), values.std(0)
    safe = np.where(spread > 0, spread, 1)
    return centre, spread, (np.abs(values - centre) / safe).reshape(len(values), -1).max(1)


def simulate(null: str, shape, seed: int, *, phi: float = 0.0, theta: float = 0.0) -> np.ndarray:
    """Series (series, step) of a null with unit noise and mean 0, parameters given; float64.

    "white-noise" and "random-walk" take no parameters, "ornstein-uhlenbeck" φ only. Raises
    SeriesError: another null, |φ| > 1 or |θ| > 1, a parameter that the null does not have.
    """
    if null not in NULLS:
        raise SeriesError(f"a null is one of {', '.join(NULLS)}, not {null!r}")
    if not (-1 < phi <= 1 and -1 <= theta <= 1):
        raise SeriesError(f"φ lies in (−1, 1] and θ in [−1, 1], not {phi} and {theta}")
    if (phi and null in NULLS[:2]) or (theta and null != "epoch-noise"):
        raise SeriesError(f"{null!r} does not have the parameters φ = {phi:g}, θ = {theta:g}")
    phi = 1.0 if null == "random-walk" else phi
    return _process(np.random.default_rng(seed), phi, theta, tuple(shape))
