"""Spectra of the increments of weights over epochs: Fig. 3a as it was drawn, and full ones.

The series is y_k = x_{k+1} − x_k, one per weight, in units of the weight; frequencies are in cycles
per epoch, from 0 to ½. Densities are one-sided, in units of weight² · epoch: their integral over
frequency is the mean square of y − ȳ. A random walk with independent steps has a flat one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, signal, stats

from limitcycles.statistics.blocks import SeriesError, blocks, per_weight, probability, series_of
from limitcycles.statistics.intervals import EXPECTED, mean_interval


@dataclass(frozen=True)
class Amplitudes:
    """Fig. 3a: the mean over weights of |Y_j|, and the band drawn around it; shapes (frequency,).

    `frequency` in cycles per epoch; the others in units of the weight.
    """

    frequency: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def increment_amplitudes(weights, *, frequencies: int = 1000, level: float = 0.95) -> Amplitudes:
    """The paper's estimator: |Y_j| = |Σ_k y_k e^{−2πijk/n}| of n increments, mean over weights.

    `weights` has shape (epoch, weight). The first `frequencies` (from 0 on) only, which of 10⁵
    epochs is the lowest 2 %; no window, no detrending, no normalisation by n, amplitudes and not
    powers, as the authors' code has it. The band is a normal confidence interval of the mean over
    weights, mean ± z s/√d: it narrows with d, says nothing of how weights differ, and is too
    narrow where weights move together. No spectrum is consistent without smoothing: each weight's
    amplitude scatters by half its mean, however long the run. Raises SeriesError as `blocks`.
    """
    z = stats.norm.ppf((1 + probability(level)) / 2)
    parts = []
    for block in blocks(weights, least=3):
        parts.append(np.abs(fft.rfft(np.diff(block))[:, :frequencies]))
    amplitude = np.concatenate(parts)
    if len(amplitude) < 2:
        raise SeriesError("a band over weights needs at least two weights")
    mean = amplitude.mean(0)
    half = z * amplitude.std(0, ddof=1) / np.sqrt(len(amplitude))
    frequency = np.arange(amplitude.shape[1]) / (weights.shape[0] - 1)
    return Amplitudes(frequency, mean, mean - half, mean + half)


@dataclass(frozen=True)
class Spectra:
    """One-sided power densities of the increments of each weight.

    `frequency` (frequency,) in cycles per epoch, `density` (weight, frequency) in weight² · epoch,
    `freedom` (frequency,): degrees of freedom of an estimate, which scatters around its mean as
    χ²_ν/ν if the density is smooth over its bandwidth.
    """

    frequency: np.ndarray
    density: np.ndarray
    freedom: np.ndarray

    def summary(self, *, level: float = 0.95, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95)) -> Summary:
        """Mean over weights with its interval, and quantiles over weights. See `Summary`."""
        mean, low, high = _over_weights(self.density, level)
        return Summary(
            self.frequency, mean, low, high, np.quantile(self.density, list(quantiles), axis=0)
        )


@dataclass(frozen=True)
class Summary:
    """Over weights: `mean` with a t interval on the log scale, `low`, `high`, and `quantiles`.

    The first three have shape (frequency,), `quantiles` (quantile, frequency). The interval treats
    weights as independent draws, and is too narrow where they are not; the quantiles say how
    weights differ.
    """

    frequency: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quantiles: np.ndarray


def _over_weights(values: np.ndarray, level: float):
    if len(values) < 2:
        raise SeriesError("an interval over weights needs at least two weights")
    mean = values.mean(0)
    # A power is not negative.
    ends = mean_interval(mean, stats.sem(values), len(values) - 1, EXPECTED, probability(level))
    return mean, *ends


def welch(weights, *, segment: int = 1024) -> Spectra:
    """Welch's estimate of the density of increments: Hann windows, half overlapped, means removed.

    `weights` has shape (epoch, weight). Frequencies are j/segment, j = 1 … segment//2: what is
    slower than a segment is not resolved (`multitaper` is for that). The mean of each segment is
    removed, which bends the lowest two frequencies. Degrees of freedom as for independent
    segments, 2 · segments · 18/19 with Hann windows at half overlap (Percival & Walden, Spectral
    Analysis, 1993, Sec. 6.17). Raises SeriesError: fewer increments than a segment, or fewer than
    8 in it.
    """
    increments = weights.shape[0] - 1
    if not 8 <= segment <= increments:
        raise SeriesError(
            f"a segment has between 8 and {increments} increments here, not {segment}"
        )

    def estimate(block):
        return signal.welch(
            np.diff(block), window="hann", nperseg=segment, noverlap=segment // 2, axis=1
        )[1][:, 1:]

    density = per_weight(weights, estimate, least=9)
    frequency = np.arange(1, segment // 2 + 1) / segment
    segments = (increments - segment // 2) // (segment - segment // 2)
    freedom = np.full(frequency.shape, max(2.0, 2 * segments * 18 / 19))
    if segment % 2 == 0:
        freedom[-1] /= 2  # a real coefficient
    return Spectra(frequency, density, freedom)


def multitaper(weights, *, bandwidth: float = 4.0, bins: int = 200) -> Spectra:
    """Thomson's estimate of the density of increments over the whole band, in bins.

    `weights` has shape (epoch, weight). 2·bandwidth − 1 Slepian tapers over the full length of n
    increments, equal weights, mean removed: it resolves bandwidth/n cycles per epoch with very
    little leakage, and the lowest frequency is bandwidth/n. The frequencies j/n from there to ½ are
    averaged in at most `bins` bins of equal width on a log axis. Degrees of freedom: 2 · tapers in
    bins narrower than a bandwidth, and two per frequency, at most, in wider ones. Raises
    SeriesError: a bandwidth below 1, or fewer than 16 · bandwidth increments.
    """
    increments = weights.shape[0] - 1
    if bandwidth < 1 or increments < 16 * bandwidth:
        raise SeriesError(
            f"a bandwidth of {bandwidth:g}/n needs to be at least 1/n, and at least "
            f"{int(np.ceil(16 * max(bandwidth, 1)))} increments, not {increments}"
        )
    tapers = signal.windows.dpss(increments, bandwidth, max(1, int(2 * bandwidth) - 1))
    index, start = log_bins(int(np.ceil(bandwidth)), increments // 2, bins)
    widths = np.diff(np.append(start, len(index)))

    def estimate(block):
        y = np.diff(block)
        y -= y.mean(1, keepdims=True)
        power = np.zeros((len(y), len(index)))
        for taper in tapers:
            coefficient = fft.rfft(y * taper)[:, index]
            power += coefficient.real**2 + coefficient.imag**2
        power *= 2 / len(tapers)
        if increments % 2 == 0:
            power[:, -1] /= 2  # the highest frequency is there once
        return np.add.reduceat(power, start, axis=1) / widths

    frequency = np.add.reduceat(index / increments, start) / widths
    freedom = 2.0 * np.maximum(len(tapers), widths)
    return Spectra(frequency, per_weight(weights, estimate, least=18), freedom)


def log_bins(first: int, last: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices first … last, and where each of at most `count` bins of equal ratio starts."""
    index = np.arange(first, last + 1)
    edges = np.geomspace(first, last + 1, count + 1)[:-1]
    return index, np.unique(np.searchsorted(index, np.floor(edges)))


def power_ratios(series, *, low_percent: float = 2, high_percent: float = 10) -> np.ndarray:
    """log(mean power low / middle) and log(high / middle) of increments; shape (series, 2), nats.

    `series` (series, step) holds the weights themselves, not increments. Powers are |Y_j|² of
    the n increments at the m = n//2 frequencies j = 1 … m (the mean increment, j = 0, is left
    out): low are the lowest low_percent % of them, high the highest high_percent %, each at least
    one, middle the rest. For a random walk with independent steps both are 0 on average, but for
    the logarithm's bias of about −1/(2m), m the frequencies averaged; for white noise, whose
    increments have a density in proportion to sin²(πf), the first is very negative and the second
    positive.
    They do not change with shift and scale. The lowest frequencies leak where the power falls
    over many decades: compare with nulls through the same estimator (`nulls.envelope`) only.

    Raises SeriesError: fewer than 101 steps, percentages that leave no middle, a series that never
    moves, for which there is no ratio.
    """
    series = series_of(series, least=101)
    power = fft.rfft(np.diff(series))[:, 1:]
    power = power.real**2 + power.imag**2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = ratios_of(power, low_percent, high_percent)
    if not np.isfinite(ratios).all():
        raise SeriesError(
            f"series {int(np.argmin(np.isfinite(ratios).all(1)))} never moves; drop it "
            "(`autocorrelation.moving`)"
        )
    return ratios


def ratios_of(power: np.ndarray, low_percent: float = 2, high_percent: float = 10) -> np.ndarray:
    """The log ratios of `power_ratios` from powers (series, frequency) at even frequencies above 0.

    Raises SeriesError: percentages that leave no middle.
    """
    frequencies = power.shape[1]
    low = max(1, int(frequencies * low_percent / 100))
    high = max(1, int(frequencies * high_percent / 100))
    if low_percent <= 0 or high_percent <= 0 or low + high >= frequencies:
        raise SeriesError(
            f"the lowest {low_percent} % and highest {high_percent} % leave no middle"
        )
    ends = np.stack([power[:, :low].mean(1), power[:, -high:].mean(1)], axis=1)
    return np.log(ends / power[:, low:-high].mean(1)[:, None])
