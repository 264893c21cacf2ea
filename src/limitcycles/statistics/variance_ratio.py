"""The variance ratio: is a series a random walk? A test that needs no simulation and no fit."""

from __future__ import annotations

import numpy as np

from limitcycles.statistics.blocks import series_of

POINTS, LAG = 1000, 10


def variance_ratio(
    series, *, points: int = POINTS, lag: int = LAG
) -> tuple[np.ndarray, np.ndarray]:
    """Variance of steps over `lag` points, by `lag` times that of single steps, and its z value.

    `series` has shape (series, step); it is looked at every max(1, length // `points`) steps, so
    that correlations of steps over much less than that do not matter, unless steps nearly undo each
    other. Overlapping steps, corrected for bias, the mean step (a drift) removed; z = (ratio − 1) /
    √(2(2q − 1)(q − 1)/(3qN)) for q = `lag` and N single steps is nearly normal for a random walk
    (Lo & MacKinlay, Review of Financial Studies 1, 41, 1988, eqs. 12–14). A ratio below 1 says that
    the series turns back, above 1 that it keeps its direction. Both of shape (series,); NaN for a
    series that never moves. Raises SeriesError: fewer than 3·`lag` points.
    """
    series = series_of(series, least=3 * lag)
    x = series[:, :: max(1, series.shape[1] // points)]
    count = x.shape[1] - 1
    mean = (x[:, -1:] - x[:, :1]) / count
    single = ((np.diff(x, axis=1) - mean) ** 2).sum(1) / (count - 1)
    far = ((x[:, lag:] - x[:, :-lag] - lag * mean) ** 2).sum(1)
    far /= lag * (count - lag + 1) * (1 - lag / count)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = far / single
    return ratio, (ratio - 1) / np.sqrt(2 * (2 * lag - 1) * (lag - 1) / (3 * lag * count))
