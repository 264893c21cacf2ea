"""Area rates in planes with their gate: the same for trajectories and for controls."""

from __future__ import annotations

import numpy as np

from limitcycles.statistics import currents, detection
from limitcycles.statistics.autocorrelation import autocorrelation

POINTS = 150  # of a swept area, for charts


def drift(coordinates: np.ndarray, window: int) -> np.ndarray:
    """Means over `window` epochs in a row; (n − window + 1, plane, 2)."""
    origin = coordinates.mean(0)
    sums = np.cumsum(np.concatenate([np.zeros((1, *origin.shape)), coordinates - origin]), axis=0)
    return origin + (sums[window:] - sums[:-window]) / window


def rates(coordinates: np.ndarray, level: float) -> dict:
    """Area rates and gate, whose tests have that level, of coordinates (epoch, plane, 2)."""
    found = detection.measure(coordinates, level=level)
    found["deviation"] = coordinates.std(0)
    dims = {"rate": "plane", "error": "plane", "batch_rate": ("plane", "batch")}
    return {name: (dims.get(name, ("plane", "direction")), its) for name, its in found.items()}


def measured(coordinates: np.ndarray, level: float, start: int = 0) -> dict:
    """What `measure` says of coordinates (epoch, plane, 2) themselves, for `xr.Dataset`."""
    areas = currents.areas(coordinates)
    keep = np.unique(np.linspace(1, len(areas), POINTS).round().astype(int))
    return rates(coordinates, level) | {
        "frequency": ("plane", currents.area_rates(coordinates).frequency),
        **{name: ("plane", its) for name, its in detection.envelope(coordinates).items()},
        "relaxation": (("plane", "direction"), _relaxations(coordinates)),
        "swept": (("time", "plane"), np.cumsum(areas, axis=0)[keep - 1]),
        "time": ("time", start + keep, {"units": "epoch"}),
    }


def _relaxations(coordinates: np.ndarray) -> np.ndarray:
    flat = coordinates.reshape(len(coordinates), -1).T
    lags = np.unique(np.geomspace(1, len(coordinates) // 2, 400).astype(int))
    below = autocorrelation(flat, lags) < np.exp(-1)
    first = np.where(below.any(1), lags[below.argmax(1)].astype(float), np.nan)
    return first.reshape(coordinates.shape[1:])
