"""The mean of a correlated series, and how well it is known: batch means.

A series of n values is cut into B batches of equal length L = n // B (the first n − BL values are
left out). If L is long against the time over which values stay correlated, the B means are nearly
independent and normal, and their mean has the standard error s/√B with B − 1 degrees of freedom
(Glynn & Whitt, Operations Research Letters 10, 431, 1991, for a fixed B). B·s²·L/B = L s² estimates
the long-run variance Σ_k Cov(a_0, a_k). Where values stay correlated over a batch the error is too
small; a gate of stationarity must come before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from limitcycles.statistics.blocks import SeriesError, probability

BATCHES = 30


@dataclass(frozen=True)
class Mean:
    """Means of series and what batch means say of them; arrays of shape (...).

    `error` is the standard error of `mean` and has `freedom` degrees of freedom; `variance` is the
    long-run variance, error² times the number of values used.
    """

    mean: np.ndarray
    error: np.ndarray
    variance: np.ndarray
    freedom: int

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of two-sided t intervals of the means, each of shape (...)."""
        half = stats.t.ppf((1 + probability(level)) / 2, self.freedom) * self.error
        return self.mean - half, self.mean + half

    def p_value(self) -> np.ndarray:
        """Of the two-sided t test that the mean is 0; NaN where the error is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * stats.t.sf(np.abs(self.mean) / self.error, self.freedom)


def batches_of(values, batches: int) -> np.ndarray:
    """`values` (step, ...) as (batch, step in batch, ...); the first remainder is left out.

    Raises SeriesError: fewer than two batches, or fewer than two values in each.
    """
    values = np.asarray(values, dtype=np.float64)
    if batches < 2 or not values.ndim or len(values) < 2 * batches:
        length = len(values) if values.ndim else 0
        raise SeriesError(f"{batches} batches need at least {2 * batches} values, not {length}")
    length = len(values) // batches
    return values[len(values) - batches * length :].reshape(batches, length, *values.shape[1:])


def batch_means(values, *, batches: int = BATCHES) -> Mean:
    """Mean over the first axis of `values` (step, ...), with its standard error. See `Mean`.

    Raises SeriesError: fewer than two batches, or fewer than two values in each.
    """
    cut = batches_of(values, batches)
    means = cut.mean(1)
    error = means.std(0, ddof=1) / np.sqrt(batches)
    return Mean(means.mean(0), error, error**2 * cut.shape[0] * cut.shape[1], batches - 1)
