"""Autocorrelations of weights over epochs: Fig. 3b as it was drawn, and a statistic for nulls.

The estimator is the biased one, with the mean of the whole series removed:

    r(τ) = Σ_{k=0}^{n−1−τ} (x_k − x̄)(x_{k+τ} − x̄) / Σ_k (x_k − x̄)²

It obeys Σ_{τ=1}^{n−1} r(τ) = −½ for every series, since Σ_k (x_k − x̄) = 0. So r must turn
negative somewhere, whatever the process, and the signed sum over evenly spaced lags of a slowly
changing series is −½ whatever it is: it tells nothing. What does is r at the lags against the
envelope of a null (`nulls.envelope`), and the sum of |r|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, stats

from limitcycles.statistics.blocks import SeriesError, blocks, probability, series_of


def autocorrelation(series, lags) -> np.ndarray:
    """r(τ) of each of `series` (series, step) at `lags` (lag,) in steps; shape (series, lag).

    NaN for a series that never moves. By FFT of twice the length: O(n log n) for all lags.
    Raises SeriesError: a lag that is negative or not below the length.
    """
    series = series_of(series)
    lags = np.asarray(lags)
    length = series.shape[1]
    if lags.ndim != 1 or not np.issubdtype(lags.dtype, np.integer):
        raise SeriesError("lags are whole numbers of steps, in one dimension")
    if lags.size and not (lags.min() >= 0 and lags.max() < length):
        raise SeriesError(f"lags lie between 0 and {length - 1}, not {lags.min()} … {lags.max()}")
    centred = series - series.mean(1, keepdims=True)
    still = np.ptp(series, axis=1) == 0
    size = fft.next_fast_len(length + int(lags.max(initial=0)), real=True)
    power = fft.rfft(centred, size)
    power = power.real**2 + power.imag**2
    products = fft.irfft(power, size)[:, lags]
    sums = np.einsum("ij,ij->i", centred, centred)
    sums[still] = np.nan
    return products / sums[:, None]


def lagged_products(x, y, count: int) -> np.ndarray:
    """½ Σ_k (x_k y_{k+jm} + y_k x_{k+jm}), j = 0 … count − 1, m = length // count.

    `x` and `y` have shape (series, step), the result (series, count). Cut into blocks of m steps,
    the sums for j are those over the diagonals ±j of the products of all pairs of blocks: one
    product of matrices for each series, some five times as fast as an FFT.
    """
    length = x.shape[1]
    step = length // count
    number = -(-length // step)
    room = ((0, 0), (0, number * step - length))
    first = np.pad(x, room).reshape(len(x), number, step)
    second = first if y is x else np.pad(y, room).reshape(first.shape)
    pairs = np.stack([a @ b.T for a, b in zip(first, second, strict=True)])
    upper, lower = (
        np.stack([np.trace(pairs, sign * j, 1, 2) for j in range(count)], axis=1)
        for sign in (1, -1)
    )
    return (upper + lower) / 2


def at_paper_lags(series: np.ndarray, count: int) -> np.ndarray:
    """`autocorrelation` at `paper_lags`, lag 0 among them; shape (series, count), float64."""
    centred = series - series.mean(1, keepdims=True)
    products = lagged_products(centred, centred, count)
    products[~moving(series)] = np.nan
    return products / products[:, :1]


def paper_lags(length: int, count: int = 100) -> np.ndarray:
    """j · (length // count), j = 0 … count − 1, in steps; shape (count,).

    Raises SeriesError: a length below `count`.
    """
    if not 1 <= count <= length:
        raise SeriesError(f"{count} lags need at least as many epochs, not {length}")
    return np.arange(count) * (length // count)


@dataclass(frozen=True)
class Autocorrelations:
    """Fig. 3b: r at `lags` (lag,) in epochs for the weights that move, and white-noise bands.

    `moving` (weight,) says which weights are in `values` (moving weight, lag). The band is
    ±`band` = z/√n.
    """

    lags: np.ndarray
    values: np.ndarray
    moving: np.ndarray
    band: float

    def outside(self) -> np.ndarray:
        """Share of the lags above 0 at which |r| exceeds the band; shape (moving weight,)."""
        return (np.abs(self.values[:, 1:]) > self.band).mean(1)


def paper_autocorrelation(weights, *, lags: int = 100, level: float = 0.99) -> Autocorrelations:
    """The paper's estimator: r at `lags` multiples of n/lags, and bands for white noise.

    `weights` has shape (epoch, weight); a weight that keeps its value in all epochs is dropped.
    The bands ±z/√n hold for independent values only: a random walk leaves them nearly always, so
    that leaving them says no more than that weights are not drawn anew every epoch. Raises
    SeriesError as `blocks`, or if no weight moves.
    """
    z = stats.norm.ppf((1 + probability(level)) / 2)
    chosen = paper_lags(weights.shape[0], lags)
    values, moves = [], []
    for block in blocks(weights):
        moves.append(moving(block))
        if moves[-1].any():
            values.append(at_paper_lags(block[moves[-1]], lags))
    if not values:
        raise SeriesError("no weight moves, so that there is no autocorrelation")
    return Autocorrelations(
        chosen,
        np.concatenate(values),
        np.concatenate(moves),
        float(z / np.sqrt(weights.shape[0])),
    )


def moving(series) -> np.ndarray:
    """Which of `series` (series, step) take more than one value; shape (series,), bool."""
    return np.ptp(series_of(series, least=1), axis=1) > 0


def lag_profile(series, *, lags: int = 100) -> np.ndarray:
    """r at the paper's lags but 0: the statistic for envelopes; shape (series, lags − 1).

    Does not change with shift and scale. Raises SeriesError as `autocorrelation`.
    """
    series = series_of(series)
    paper_lags(series.shape[1], lags)  # raises
    return at_paper_lags(series, lags)[:, 1:]


def summed(series, *, lags: int = 100) -> np.ndarray:
    """Σ|r| and Σr over the paper's lags but 0; shape (series, 2).

    The second is near −½ for every slowly changing series (see above): it is kept to show that.
    """
    profile = lag_profile(series, lags=lags)
    return np.stack([np.abs(profile).sum(1), profile.sum(1)], axis=1)
