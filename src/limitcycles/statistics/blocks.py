"""Weights of a long trajectory, a block of series at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from limitcycles.runtime.errors import LimitcyclesError

BLOCK = 64  # series at once: those of one chunk of the store; 51 MB for 10⁵ epochs in float64


class SeriesError(LimitcyclesError):
    """Series from which a statistic cannot be had."""


def blocks(weights, *, least: int = 2, size: int = BLOCK) -> Iterator[np.ndarray]:
    """The series of `weights` (epoch, weight), `size` at a time: arrays (weight, epoch), float64.

    `weights` is anything with a shape that can be sliced: an array, a lazily opened variable of
    xarray. Raises SeriesError: another shape, fewer than `least` epochs, a value not finite.
    """
    if len(weights.shape) != 2 or not weights.shape[1]:
        raise SeriesError(f"weights have shape (epoch, weight), not {tuple(weights.shape)}")
    if weights.shape[0] < least:
        raise SeriesError(f"{weights.shape[0]} epochs are too few here: at least {least}")
    for first in range(0, weights.shape[1], size):
        # A copy in any case: a statistic may work in place.
        block = np.array(np.asarray(weights[:, first : first + size]).T, dtype=float, order="C")
        bad = ~np.isfinite(block).all(1)
        if bad.any():
            raise SeriesError(
                f"weight {first + int(np.argmax(bad))} has a value that is NaN or infinite; "
                "cut the trajectory before training diverged"
            )
        yield block


def per_weight(
    weights, statistic: Callable[[np.ndarray], np.ndarray], *, least: int = 2
) -> np.ndarray:
    """`statistic` of every series of `weights` (epoch, weight); shape (weight, ...).

    It maps series (weight, epoch) to (weight, ...). Raises SeriesError as `blocks`.
    """
    return np.concatenate([statistic(block) for block in blocks(weights, least=least)])


def series_of(values, *, least: int = 2) -> np.ndarray:
    """`values` as float64 (series, step). Raises SeriesError: other shapes, values not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] < least:
        raise SeriesError(
            f"series have shape (series, step) with at least {least} steps, not {values.shape}"
        )
    if not np.isfinite(values).all():
        raise SeriesError("a series has a value that is NaN or infinite")
    return values


def probability(level: float) -> float:
    """`level` if it lies between 0 and 1. Raises SeriesError elsewhere."""
    if not 0 < level < 1:
        raise SeriesError(f"a level lies between 0 and 1, not {level}")
    return float(level)
