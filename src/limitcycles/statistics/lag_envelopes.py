"""Envelopes of r at the paper's lags under fitted nulls, for every weight with its own parameters.

All nulls of `nulls` are, at these lags, a slow process a of unit variance and independent white
noise w of unit variance:  x = √c a + √(1 − c) w,  a an Ornstein–Uhlenbeck process or a random walk.
For φ > 0, θ < 0 < φ + θ the sum is the process itself: its autocorrelation is cφ^τ at τ ≥ 1 with

    c = (1 + φθ)(φ + θ) / (φ (1 + 2φθ + θ²))

(from ρ(1) of an ARMA(1, 1) process, Box & Jenkins 1976, eq. 3.4.7). Elsewhere c lies within
1/(2·relaxation time) of 1 or of 0, and the OU process with the same Σ_τ ρ(τ)² stands for it, which
is what r at lags far above the relaxation time depends on (Bartlett); for φ near −1, where weights
change sign every epoch for longer than the lags, the envelopes are wrong.

Sums of products of x at a lag are those of a, of w, and across, with weights c, 1 − c and
√(c(1 − c)). So paths are drawn once, for a grid of relaxation times, and serve all weights and both
nulls. The grid has the step `STEP` in u = log((1 + φ)/(1 − φ)), the log of twice the relaxation
time. Between its points the centre of an envelope is interpolated linearly and its width
geometrically, in log Σ_τ ρ(τ)²: for relaxation times far below the lags the deviation of r is
√(Σ ρ²/n) times a function of the lag (Bartlett), so that this is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from limitcycles.runtime.progress import track
from limitcycles.statistics.autocorrelation import lagged_products
from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.nulls import Fit, enough, standardised

STEP = 1.0  # of the grid, in u
LONGEST = 20  # relaxation times above so many lengths count as that
WALK_POINTS = 100  # of a random walk from one lag to the next, at most
WALK = -1  # the index of the random walk among the points of the grid


@dataclass(frozen=True)
class Bounds:
    """Envelopes of some weights: |r − `centre`| ≤ `width`, (weight, lag − 1), at all lags at once.

    `sum_centre`, `sum_width` (weight,) are the same for log Σ|r| over these lags. `doubt`
    (weight, 2): the ends of a 95 % interval of `width`, relative to it: it is an order statistic of
    the replicates, whose rank is binomial.
    """

    centre: np.ndarray
    width: np.ndarray
    sum_centre: np.ndarray
    sum_width: np.ndarray
    doubt: np.ndarray

    def reach(self, profile: np.ndarray) -> np.ndarray:
        """Largest |r − centre|/width of `profile` (weight, lag − 1): above 1 where it leaves."""
        return (np.abs(profile - self.centre) / self.width).max(1)

    def sum_reach(self, profile: np.ndarray) -> np.ndarray:
        """|log Σ|r| − centre|/width, (weight,): above 1 where the sum leaves its envelope."""
        return np.abs(log_sum(profile) - self.sum_centre) / self.sum_width


def log_sum(profile: np.ndarray) -> np.ndarray:
    """log Σ|r| over the lags of `profile` (series, lag − 1); shape (series,)."""
    return np.log(np.abs(profile).sum(1))


def bounds(
    fits: Sequence[Fit], *, level: float, seed: int, replicates: int = 999, lags: int = 100
) -> list[Bounds]:
    """Envelopes of r at `paper_lags` but 0, and of log Σ|r|, under each of `fits`.

    A share `level` of simulated series lies within the envelope at all lags; of each null for
    itself, and of the sum for itself. Paths are shared between weights, nulls and relaxation times.
    Where random walks alone are asked for, they are drawn at no more than `WALK_POINTS` evenly
    spaced epochs a lag, which changes r by less than a hundredth of the width. Time: replicates ×
    (points of the grid that are used) × about 3 ms for 10⁵ epochs, and 1 ms for each weight whose c
    is not 1.

    Raises SeriesError: fits of different lengths, too few replicates (see `nulls.enough`).
    """
    enough(level, replicates)
    lengths = {fit.length for fit in fits}
    if len(lengths) != 1:
        raise SeriesError(f"fits to series of one length are needed, not of {sorted(lengths)}")
    (length,) = lengths
    places = [_Places.of(fit) for fit in fits]
    points = np.unique(np.concatenate([p.points() for p in places])).tolist()
    mixed = any((p.slow < 1).any() for p in places)
    if points == [WALK] and not mixed:
        length = min(length, WALK_POINTS * lags)
    found = _Envelopes(_simulate(points, length, lags, replicates, seed, mixed), level)
    return [found.at(p) for p in places]


def slow_share(phi, theta):
    """c = ρ(1)/φ of an ARMA(1, 1) process with parameters φ ≠ 0 and θ."""
    return (1 + phi * theta) * (phi + theta) / (phi * (1 + 2 * phi * theta + theta**2))


def _log_squares(u, slow):
    """log Σ_τ ρ(τ)² of √c a + √(1 − c) w over all lags: (1 + φ²)/(1 − φ²) = cosh u if c = 1."""
    return np.log1p(slow**2 * (np.cosh(u) - 1))


@dataclass(frozen=True)
class _Places:
    """Of each weight: lower point of the grid, the way to the next one, and c; (weight,)."""

    lower: np.ndarray
    way: np.ndarray
    slow: np.ndarray

    @classmethod
    def of(cls, fit: Fit) -> _Places:
        phi, theta = np.maximum(fit.phi, 1e-9 - 1), fit.theta
        walk = phi >= 1
        slow = np.ones(len(phi))
        # a walk of steps ε_{k+1} + θε_k: a walk of steps (1 + θ)ε and white noise of variance −θ
        noise = np.where(theta < 0, -theta, 0) / (1 + theta) ** 2
        slow[walk] = (1 / (1 + noise))[walk]
        exact = ~walk & (phi > 0) & (theta < 0) & (phi + theta > 0)
        slow[exact] = slow_share(phi[exact], theta[exact])
        other = ~walk & ~exact & ((theta != 0) | (phi < 0))
        first = (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta**2)  # ρ(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = first**2 / (1 - phi**2)  # Σρ² over all lags is 1 + 2 rest, and as OU process
            alike = np.sqrt(rest / (1 + rest))  # (1 + φ'²)/(1 − φ'²)
        u = 2 * np.arctanh(np.where(walk, 0, np.where(other, alike, phi)))
        u = np.clip(u, 0, np.log(2 * LONGEST * fit.length))
        lower = np.floor(u / STEP).astype(int)
        below, here, above = (_log_squares(v, slow) for v in (lower * STEP, u, (lower + 1) * STEP))
        way = (here - below) / (above - below)
        return cls(np.where(walk, WALK, lower), np.where(walk, 0, way), slow)

    def points(self) -> np.ndarray:
        return np.concatenate([self.lower, self.lower[self.way > 0] + 1])


@dataclass(frozen=True)
class _Products:
    """Sums of products (replicate, lag): of slow paths and across by point, of white noise."""

    slow: dict[int, np.ndarray]
    across: dict[int, np.ndarray]
    white: np.ndarray

    def profile(self, point: int, c: float) -> np.ndarray:
        """r at the lags above 0, (replicate, lag − 1), of the mixture."""
        sums = self.slow[point]
        if c < 1:
            sums = c * sums + np.sqrt(c * (1 - c)) * self.across[point] + (1 - c) * self.white
        return sums[:, 1:] / sums[:, :1]


def _simulate(
    points: list[int], length: int, lags: int, replicates: int, seed: int, mixed: bool
) -> _Products:
    rng = np.random.default_rng(seed)
    rows = min(replicates, max(1, 2**22 // max(length, lags**2)))  # paths, and pairs of blocks
    slow = {point: [] for point in points}
    across = {point: [] for point in points}
    white = []
    sizes = [min(rows, replicates - first) for first in range(0, replicates, rows)]
    for size in track(sizes, unit="part", what="series under nulls", delay=10):
        noise, start = rng.standard_normal((size, length)), rng.standard_normal((size, 1))
        w = rng.standard_normal((size, length)) if mixed else None
        if mixed:
            w -= w.mean(1, keepdims=True)
            white.append(lagged_products(w, w, lags))
        for point in points:
            a = _slow_path(point, noise, start)
            slow[point].append(lagged_products(a, a, lags))
            if mixed:
                across[point].append(2 * lagged_products(a, w, lags))
    joined = {k: np.concatenate(v) for k, v in slow.items()}
    if not mixed:
        return _Products(joined, {}, np.empty(0))
    return _Products(
        joined, {k: np.concatenate(v) for k, v in across.items()}, np.concatenate(white)
    )


def _slow_path(point: int, noise: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Paths about their means: of unit variance, stationary; or walks of unit steps."""
    if point == WALK:
        a = np.cumsum(noise, axis=1)
    else:
        phi = np.tanh(point * STEP / 2)
        a = signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, zi=phi * start)[0]
    a -= a.mean(1, keepdims=True)
    return a


class _Envelopes:
    """Envelopes at points of the grid, kept once they are made, and between them."""

    def __init__(self, products: _Products, level: float):
        self.products, self.level = products, level
        self.known: dict[tuple[int, float], tuple] = {}

    def of(self, point: int, c: float) -> tuple:
        if (point, c) not in self.known:
            profile, level = self.products.profile(point, c), self.level
            centre, spread, furthest = standardised(profile)
            half = 1.96 * np.sqrt(level * (1 - level) / len(furthest))
            levels = [level, level - half, min(1, level + half)]
            q, *ends = np.quantile(furthest, levels, method="higher")
            sum_centre, sum_spread, sum_furthest = standardised(log_sum(profile))
            sum_width = np.quantile(sum_furthest, level, method="higher") * sum_spread
            self.known[point, c] = centre, q * spread, sum_centre, sum_width, np.array(ends) / q
        return self.known[point, c]

    def at(self, places: _Places) -> Bounds:
        rows, linear = [], (True, False, True, False, False)
        for point, way, c in zip(places.lower, places.way, places.slow, strict=True):
            low = self.of(int(point), float(c))
            if way > 0:
                high = self.of(int(point) + 1, float(c))
                low = tuple(
                    (1 - way) * a + way * b if straight else a ** (1 - way) * b**way
                    for straight, a, b in zip(linear, low, high, strict=True)
                )
            rows.append(low)
        return Bounds(*(np.stack(part) for part in zip(*rows, strict=True)))
