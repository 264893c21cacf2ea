"""What fitted nulls say of the spectrum of increments: closed densities, envelopes of power ratios.

For x_{k+1} − m = φ (x_k − m) + ε_{k+1} + θ ε_k with ε of deviation s, as `nulls` has it, the
increments y_k = x_{k+1} − x_k have the one-sided density (Brockwell & Davis, Time Series, 1991,
Sec. 4.4)

    S(f) = 2 s² |1 + θ z|² |1 − z|² / |1 − φ z|²,  z = e^{−2πif},

for φ = 1 that of a moving average, 2 s² |1 + θ z|².
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from limitcycles.statistics import nulls
from limitcycles.statistics.spectra import power_ratios, ratios_of, welch

LOOKS = ("periodogram", "welch")
# Of log((1 + φ)/(1 − φ)), about the log of twice the relaxation time, and the same for θ. Only the
# shape and width of an envelope are taken from a null as far away as this: its place is computed.
RESOLUTION = 0.5
# Relaxation time T times the low band's share s of the frequencies, from which on width and shape
# are those of a walk: T bends the frequencies below 1/(2πT), 1/(20π) = 2 % of the band of s/2.
LONGEST = 20.0


def density(fit: nulls.Fit, frequency) -> np.ndarray:
    """S(f) of each fitted weight at `frequency` (frequency,) in cycles per epoch, above 0.

    Shape (weight, frequency), in weight² · epoch.
    """
    z = np.exp(-2j * np.pi * np.asarray(frequency, dtype=np.float64))
    phi, theta = fit.phi[:, None], fit.theta[:, None]
    walk = phi >= 1
    shape = np.abs(1 + theta * z) ** 2
    ratio = np.abs(1 - z) ** 2 / np.abs(1 - np.where(walk, 0, phi) * z) ** 2
    return 2 * fit.noise[:, None] ** 2 * shape * np.where(walk, 1, ratio)


def covariances(phi, theta, count: int) -> np.ndarray:
    """Autocovariances of y at lags 0 … count − 1 for s = 1; shape (weight, count).

    γ(0) = 2(1 + θ² − θ(1 − φ))/(1 + φ), γ(1) = (φ + θ)(1 + φθ)/(1 + φ) − γ(0)/2 and
    γ(h) = −(1 − φ)(φ + θ)(1 + φθ)/(1 + φ) φ^{h−2} for h ≥ 2: from those of x (Brockwell & Davis,
    Sec. 3.3), written so that nothing cancels as φ → 1.
    """
    phi, theta = (np.asarray(a, dtype=np.float64)[:, None] for a in (phi, theta))
    common = (phi + theta) * (1 + phi * theta) / (1 + phi)
    result = np.empty((len(phi), count))
    result[:, :1] = 2 * (1 + theta**2 - theta * (1 - phi)) / (1 + phi)
    result[:, 1:2] = common - result[:, :1] / 2
    result[:, 2:] = phi
    result[:, 2:3] = -(1 - phi) * common
    np.multiply.accumulate(result[:, 2:], axis=1, out=result[:, 2:])
    return result


def expected_ratios(phi, theta, length: int, *, low_percent=2.0, high_percent=10.0) -> np.ndarray:
    """`power_ratios` of the expected powers of `length` epochs; shape (weight, 2), nats.

    E|Y_j|² = Σ_h (n − |h|) γ(h) e^{−2πijh/n} of the n = length − 1 increments, leakage included,
    which is the Fourier transform of (n − h)γ(h) + hγ(n − h), h = 0 … n − 1. The mean of the log
    ratio is lower by about 1/(2m), m the frequencies of a band.
    """
    phi, theta = (np.asarray(a, dtype=np.float64) for a in (phi, theta))
    n = length - 1
    lag = np.arange(n)
    parts = []
    for start in range(0, len(phi), 32):
        gamma = covariances(phi[start : start + 32], theta[start : start + 32], n)
        around = (n - lag) * gamma
        around[:, 1:] += lag[1:] * gamma[:, :0:-1]
        power = fft.rfft(around)[:, 1:].real
        # Below rounding where the power falls by more than 15 decades.
        power = np.maximum(power, 1e-15 * power.max(1, keepdims=True))
        parts.append(ratios_of(power, low_percent, high_percent))
    return np.concatenate(parts)


def looks(series, *, low_percent=2.0, high_percent=10.0) -> np.ndarray:
    """The log power ratios of series (series, step) by both `LOOKS`; shape (series, look, 2), nats.

    The periodogram as `power_ratios` has it, and Welch's estimate, which leaks little and has
    errors of its own at the lowest frequencies, in segments of `segment` increments; it is NaN for
    a series that moves only where no segment sees it. Raises SeriesError as `power_ratios`.
    """
    first = power_ratios(series, low_percent=low_percent, high_percent=high_percent)
    estimate = welch(series.T, segment=segment(series.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        second = ratios_of(estimate.density, low_percent, high_percent)
    return np.stack([first, second], axis=1)


def segment(length: int) -> int:
    """Increments in a segment of Welch's estimate: 1,024, or fewer where `length` epochs have not
    eight times as many; a power of two, 8 at least."""
    return int(min(1024, max(8, 2 ** np.floor(np.log2((length - 1) / 8)))))


def ratio_envelope(
    fits: nulls.Fit,
    *,
    level: float,
    seed: int,
    replicates: int = 199,
    resolution: float = RESOLUTION,
    low_percent: float = 2.0,
    high_percent: float = 10.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise two-sided envelopes of `looks` for each weight: low, high, (weight, look, 2), nats.

    A null of nearby parameters, `resolution` apart, is simulated (`nulls.envelope`), and its
    envelope moved by the difference of what the two nulls expect (`expected_ratios`; for Welch's
    estimate of `density`): where φ and θ decide, in the place of an envelope, nothing is rounded;
    its width and shape hardly depend on them.
    Relaxation times above `LONGEST` / (share of the low band) have one simulation together. Time
    for 10⁵ epochs: replicates × groups × 5 ms, and 1 ms a weight. Raises SeriesError as
    `nulls.envelope` and `looks`.
    """
    bands = {"low_percent": low_percent, "high_percent": high_percent}
    longest = np.log(2 * LONGEST / (low_percent / 100))
    keys = np.stack([fits.phi, fits.theta], axis=1)
    limit = np.tanh(nulls.LIMIT / 2)
    keys[:, 1] = np.clip(keys[:, 1], -limit, limit)
    with np.errstate(divide="ignore"):
        keys = np.clip(2 * np.arctanh(np.clip(keys, -1, 1)), -longest, longest)
    cells, group = np.unique(np.round(keys / resolution), axis=0, return_inverse=True)
    group = group.ravel()
    phi, theta = np.tanh(resolution * cells / 2).T
    zero, one = np.zeros(len(cells)), np.ones(len(cells))
    near = nulls.Fit(fits.null, zero, phi, theta, one, fits.length)
    found = nulls.envelope(
        lambda series: looks(series, **bands),
        near,
        level=level,
        seed=seed,
        replicates=replicates,
        shared=False,
    )
    moved = _expected(fits, bands) - _expected(near, bands)[group]
    return found.pointwise_low[group] + moved, found.pointwise_high[group] + moved


def _expected(fits: nulls.Fit, bands: dict) -> np.ndarray:
    """What both looks find in the mean, but for the logarithm; shape (weight, look, 2), nats."""
    size = segment(fits.length)
    smooth = density(fits, np.arange(1, size // 2 + 1) / size)
    exact = expected_ratios(fits.phi, fits.theta, fits.length, **bands)
    return np.stack([exact, ratios_of(smooth, *bands.values())], axis=1)
