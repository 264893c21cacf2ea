"""Measured rates against predicted ones: one slope for all planes of a run.

Planes of one run are correlated (they share directions and noise), so that a fit which takes their
errors for independent has too short an interval. Here the slope is fitted in each batch of time by
itself, and its interval is that of the mean over batches, whatever planes have to do with each
other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from limitcycles.statistics.blocks import SeriesError, probability


@dataclass(frozen=True)
class Slope:
    """Slope s of measured = s · predicted, with its t interval; a perfect theory gives 1.

    `batches` (batch,) holds the slope in each batch of time. `chi_square` is the sum over planes of
    squared residuals over squared errors, for `freedom` degrees of freedom if planes were
    independent: far above it, no slope describes the planes.
    """

    slope: float
    low: float
    high: float
    batches: np.ndarray
    chi_square: float
    freedom: int


def prediction_slope(predicted, measured, *, level: float = 0.95) -> Slope:
    """Slope over planes, least squares with weights 1/error², in each batch of time.

    `predicted` (plane,) and `measured` (batch, plane), the mean rate in each batch of the run, in
    one unit. The errors are those of the mean over batches (`long_run`), the weights the same in
    all batches; a plane's own error enters its weight, not the interval. In batch t

        s_t = Σ_p w_p p_p m_tp / Σ_p w_p p_p²,   s = mean of s_t,   s ± t_{B−1} sd(s_t)/√B.

    Batches have to be long against correlation times. The error of the prediction itself (H, D) is
    left out: it biases s towards 0. Raises SeriesError: shapes that differ, fewer than two batches,
    a plane without any change, no prediction but 0.
    """
    p, m = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if p.ndim != 1 or m.ndim != 2 or m.shape[1] != len(p) or len(m) < 2 or not len(p):
        raise SeriesError(
            f"needed are predicted (plane,) and measured (batch, plane), not {p.shape}, {m.shape}"
        )
    errors = m.std(0, ddof=1) / np.sqrt(len(m))
    if not (np.isfinite(p).all() and np.isfinite(m).all() and (errors > 0).all() and p.any()):
        raise SeriesError("rates have to be finite, errors positive, and a prediction other than 0")
    weights = p / errors**2
    slopes = m @ weights / float(weights @ p)
    slope = float(slopes.mean())
    half = stats.t.ppf((1 + probability(level)) / 2, len(m) - 1) * stats.sem(slopes)
    chi_square = float((((m.mean(0) - slope * p) / errors) ** 2).sum())
    return Slope(slope, slope - half, slope + half, slopes, chi_square, len(p) - 1)
