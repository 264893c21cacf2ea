"""Currents in planes: area rates and cycling frequencies.

Coordinates have shape (step, plane, 2): x and y in planes that were chosen before the run was
looked at. The area of a step, seen from the mean position, is

    a_k = ½ (x_k y_{k+1} − y_k x_{k+1}),

and its mean, the area rate, is zero in the stationary state of any process that looks the same
backwards in time. It is positive for a turn from x to y. All of it holds in a stationary state
only: a random walk has areas with heavy tails (Lévy), and planes chosen by PCA of the run itself
show loops without a current (Antognini & Sohl-Dickstein 2018).

>>> import numpy as np
>>> from limitcycles import currents, linear_sgd
>>> A = 0.9 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
>>> x = linear_sgd.linear_series(A, np.random.default_rng(0).standard_normal((20000, 2)))
>>> rates = currents.area_rates(x[:, None])  # one plane, the coordinates themselves
>>> rates.significant.tolist(), rates.rate.round(1).tolist()
([True], [2.3])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy import fft

from limitcycles.statistics.blocks import SeriesError, probability
from limitcycles.statistics.long_run import BATCHES, batch_means

ROWS = 4096  # epochs projected at once


def project(weights, planes) -> np.ndarray:
    """Coordinates (epoch, plane, 2) of `weights` (epoch, weight) on `planes` (plane, 2, weight).

    x = u·w and y = v·w for the vectors u, v of a plane; orthonormal ones keep areas. Reads the
    epochs in blocks. Raises SeriesError: shapes that differ, values not finite.
    """
    planes = np.asarray(planes, dtype=np.float64)
    if planes.ndim != 3 or planes.shape[1] != 2 or planes.shape[2:] != tuple(weights.shape[1:]):
        raise SeriesError(
            f"weights of shape {tuple(weights.shape)} need planes (plane, 2, "
            f"{weights.shape[-1]}), not {planes.shape}"
        )
    vectors = planes.reshape(-1, planes.shape[2]).T
    result = np.empty((weights.shape[0], vectors.shape[1]))
    for first in range(0, len(result), ROWS):
        block = np.asarray(weights[first : first + ROWS], dtype=np.float64)
        result[first : first + ROWS] = block @ vectors
    return _coordinates(result.reshape(len(result), -1, 2))


def _coordinates(values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3 or values.shape[2] != 2 or len(values) < 3 or not values.shape[1]:
        raise SeriesError(f"coordinates have shape (step, plane, 2), not {values.shape}")
    if not np.isfinite(values).all():
        raise SeriesError("a coordinate is NaN or infinite")
    return values


def areas(coordinates) -> np.ndarray:
    """a_k of each step in each plane, seen from the mean; shape (step − 1, plane), weight².

    Another origin adds a term that telescopes, of order 1/n in the mean.
    """
    coordinates = _coordinates(coordinates)
    x, y = np.moveaxis(coordinates - coordinates.mean(0), 2, 0)
    return (x[:-1] * y[1:] - y[:-1] * x[1:]) / 2


@dataclass(frozen=True)
class AreaRates:
    """Area rates in planes; arrays of shape (plane,).

    `rate` in weight² per step, with `error`; `low`, `high` an interval that holds for all planes
    together with probability `level` at least, if planes are independent, and `p_value` is
    corrected in the same way. `frequency` is the cycling frequency in cycles per step, with its
    interval `frequency_low`, `frequency_high`.
    """

    rate: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    frequency: np.ndarray
    frequency_low: np.ndarray
    frequency_high: np.ndarray
    level: float

    @property
    def significant(self) -> np.ndarray:
        """Which planes have an interval that excludes 0; shape (plane,), bool."""
        return (self.low > 0) | (self.high < 0)


def area_rates(coordinates, *, level: float = 0.95, batches: int = BATCHES) -> AreaRates:
    """Mean area per step in each plane of `coordinates` (step, plane, 2), with intervals.

    Standard errors by batch means (`long_run`), t intervals at Šidák's level, level^(1/planes)
    each. The cycling frequency is rate/(2π sqrt(det C)), C the covariance of the plane: the mean
    angular rate, in cycles per step, where C is made round (the ω/2π of Gonzalez et al. 2019); it
    does not change with linear maps of the plane. Its interval is that of the rate, scaled: the
    error of C is left out, which does not matter for whether it excludes 0. NaN for a flat plane.

    Invalid without a stationary state (`stationarity`), and where coordinates stay correlated over
    a batch of n/batches steps. Raises SeriesError: shapes, fewer than two steps in a batch.
    """
    coordinates = _coordinates(coordinates)
    means = batch_means(areas(coordinates), batches=batches)
    planes = coordinates.shape[1]
    low, high = means.interval(probability(level) ** (1 / planes))
    centred = coordinates - coordinates.mean(0)
    covariance = np.einsum("npi,npj->pij", centred, centred) / len(centred)
    size = np.sqrt(np.maximum(np.linalg.det(covariance), 0))
    trace = covariance[:, 0, 0] + covariance[:, 1, 1]
    size = 2 * np.pi * np.where(size > 1e-9 * trace, size, np.nan)
    p_value = -np.expm1(planes * np.log1p(-np.minimum(means.p_value(), 1 - 1e-16)))
    return AreaRates(
        means.mean,
        means.error,
        low,
        high,
        p_value,
        means.mean / size,
        low / size,
        high / size,
        float(level),
    )


# ---------------------------------------------------------------- linear processes


def linear_area_rate(A, covariance, plane) -> float:
    """Exact mean area per step of x_{k+1} = A x_k + ξ_k with independent ξ, in a plane (2, d).

    `covariance` Σ is stationary, Σ = AΣAᵀ + Cov(ξ), so that E[x_k x_{k+1}ᵀ] = ΣAᵀ and

        E[a] = ½ uᵀ(ΣAᵀ − AΣ)v.

    Normal noise is not needed. With A = 1 − hF it is h times T Q_uv of `linear_theory`, to first
    order in h.
    """
    A, covariance, (u, v) = _linear(A, covariance, plane)
    return float(u @ (covariance @ A.T - A @ covariance) @ v / 2)


def linear_area_variance(A, covariance, plane) -> float:
    """Long-run variance Σ_k Cov(a_0, a_k) of the area per step of the same, for normal noise.

    The mean of n steps has this variance over n, for n → ∞. With M = ½(uvᵀ − vuᵀ),
    a_k = x_kᵀ M x_{k+1} and E[x_k x_0ᵀ] = A^k Σ, Isserlis' theorem gives for k ≥ 1

        Cov(a_0, a_k) = tr(Σ (Aᵀ)^k M A^k Σ Mᵀ) + tr(M Σ (Aᵀ)^{k−1} M A^{k+1} Σ),

    and for k = 0 tr(ΣMΣMᵀ) + tr(MAΣMAΣ). With X = Σ_{k≥0} (Aᵀ)^k M A^k, the solution of
    X − AᵀXA = M, the sum over all k is

        tr(ΣMΣMᵀ) + tr(MAΣMAΣ) + 2 tr(Σ(X − M)ΣMᵀ) + 2 tr(MΣXA²Σ).

    Its limit for short steps is that of linear SDEs (du Buisson, Mnyulwa & Touchette 2023): for
    dx = −(γ + ξJ)x dt + ε dW in the plane ε⁴/(4γ)(1 + ξ²/γ²) per unit of time.
    """
    A, S, (u, v) = _linear(A, covariance, plane)
    M = (np.outer(u, v) - np.outer(v, u)) / 2
    X = scipy.linalg.solve_discrete_lyapunov(A.T, M)
    step = A @ S
    return float(
        np.trace(S @ M @ S @ M.T)
        + np.trace(M @ step @ M @ step)
        + 2 * np.trace(S @ (X - M) @ S @ M.T)
        + 2 * np.trace(M @ S @ X @ A @ step)
    )


def _linear(A, covariance, plane):
    A, covariance, plane = (np.asarray(v, dtype=np.float64) for v in (A, covariance, plane))
    d = len(A)
    if A.shape != (d, d) or covariance.shape != (d, d) or plane.shape != (2, d):
        raise SeriesError(
            f"A and Σ are (d, d) and a plane (2, d), not {A.shape}, {covariance.shape} and "
            f"{plane.shape}"
        )
    return A, covariance, plane


# ---------------------------------------------------------------- surrogates

PHASES = ("independent", "common")


def surrogates(coordinates, *, phases: str, seed: int) -> np.ndarray:
    """Coordinates with the same power spectra and random phases; the same shape.

    "common": one random phase per frequency for all coordinates (Prichard & Theiler, PRL 73, 951,
    1994): cross-spectra stay, and with them the current. "independent": one per frequency and
    coordinate: cross-spectra, correlations of coordinates and currents go. Surrogates are periodic
    and close to normal; a trend, or a series that ends far from its start, puts power into all
    frequencies. Raises SeriesError: other phases.
    """
    coordinates = _coordinates(coordinates)
    if phases not in PHASES:
        raise SeriesError(f"phases are {' or '.join(PHASES)}, not {phases!r}")
    length = len(coordinates)
    spectrum = fft.rfft(coordinates, axis=0)
    shape = spectrum.shape if phases == "independent" else (len(spectrum), 1, 1)
    turn = np.exp(2j * np.pi * np.random.default_rng(seed).random(shape))
    turn[0] = 1
    if length % 2 == 0:
        turn[-1] = np.where(turn[-1].real < 0, -1, 1)  # a real coefficient has a sign only
    return fft.irfft(spectrum * turn, length, axis=0)


def circular_area_rates(coordinates) -> np.ndarray:
    """Mean area of all n steps when the last leads back to the first; shape (plane,), weight².

    The statistic that phases act on: (2/n²) Σ_f sin(2πf) |X_f| |Y_f| sin ψ_f, f > 0, with ψ_f the
    phase of X_f relative to that of Y_f. Common phases keep it exactly.
    """
    coordinates = _coordinates(coordinates)
    x, y = np.moveaxis(coordinates - coordinates.mean(0), 2, 0)
    return (x * np.roll(y, -1, axis=0) - y * np.roll(x, -1, axis=0)).mean(0) / 2


def _principal(coordinates: np.ndarray) -> np.ndarray:
    centred = coordinates - coordinates.mean(0)
    covariance = np.einsum("npi,npj->pij", centred, centred)
    _, axes = np.linalg.eigh(covariance)
    axes[:, :, 1] *= np.sign(np.linalg.det(axes))[:, None]  # no reflection: areas keep their sign
    return np.einsum("npi,pij->npj", centred, axes)


def surrogate_deviation(coordinates) -> np.ndarray:
    """Deviation of circular area rates of surrogates with independent phases; (plane,), weight².

    Exact, and none is made: the difference ψ_f of two independent phases is uniform, so that the
    variance of (2/n²) Σ_f sin(2πf) |X_f| |Y_f| sin ψ_f is ½ Σ_f ((2/n²) sin(2πf) |X_f| |Y_f|)². The
    coordinates of each plane are first turned to its principal axes, which keeps areas, since
    independent phases would undo their correlation.

    That of the area rate itself, if the coordinates are independent of each other. Where they are
    correlated at some lag though not at lag 0, as in a reversible process whose noise and drift
    have different axes, it is larger: the envelope is then too wide for a test at its level, and
    can only take away from what an interval finds.
    """
    coordinates = _coordinates(coordinates)
    length = len(coordinates)
    spectrum = fft.rfft(_principal(coordinates), axis=0)[1 : (length + 1) // 2]
    frequency = np.arange(1, len(spectrum) + 1) / length
    turns = np.sin(2 * np.pi * frequency)[:, None]
    size = 2 / length**2 * turns * np.abs(spectrum).prod(2)
    return np.sqrt((size**2).sum(0) / 2)
