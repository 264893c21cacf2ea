"""The rule on currents, of the part `planes` of the measurement, one a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import stats

from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.slopes import Slope, prediction_slope


def corrected(seeds: Sequence[xr.Dataset], level: float) -> float:
    """The level of one plane, by Šidák's correction for the planes of all seeds."""
    return level ** (1 / sum(planes.sizes["plane"] for planes in seeds))


def gated(planes: xr.Dataset, parameters: dict, *, fast: bool = False) -> np.ndarray:
    """Which planes have two directions that pass the gate; (plane,) bool."""
    of = "fast_" if fast else ""
    shift, ratio = parameters["shift"], np.log(parameters["ratio"])
    same = (planes[f"{of}shift_low"] > -shift) & (planes[f"{of}shift_high"] < shift)
    same &= (planes[f"{of}log_ratio_low"] > -ratio) & (planes[f"{of}log_ratio_high"] < ratio)
    return same.all("direction").values


def significant(planes: xr.Dataset, level: float, *, fast: bool = False) -> np.ndarray:
    """Which planes have a rate whose t interval at `level` excludes 0; (plane,) bool."""
    of = "fast_" if fast else ""
    t = stats.t.ppf((1 + level) / 2, planes.sizes["batch"] - 1)
    return (np.abs(planes[f"{of}rate"]) > t * planes[f"{of}error"]).values


def outside(planes: xr.Dataset, level: float) -> np.ndarray:
    """Which planes have a circular rate outside the envelope of independent phases."""
    z = stats.norm.ppf((1 + level) / 2)
    return (np.abs(planes["circular_rate"]) > z * planes["surrogate_deviation"]).values


def currents_in(planes: xr.Dataset, level: float, parameters: dict) -> np.ndarray:
    """Which planes count and have a current; (plane,) bool."""
    return gated(planes, parameters) & significant(planes, level) & outside(planes, level)


def finds(seeds: Sequence[xr.Dataset], parameters: dict) -> bool | None:
    """Whether a plane of a seed has a current; None: no plane passes the gate."""
    level = corrected(seeds, parameters["level"])
    if not any(gated(planes, parameters).any() for planes in seeds):
        return None
    return any(currents_in(planes, level, parameters).any() for planes in seeds)


def slope(
    seeds: Sequence[xr.Dataset], parameters: dict, *, fast: bool = False, place: str | None = None
) -> Slope | None:
    """The slope over the planes of all seeds that pass the gate and have a prediction.

    The prediction is the mean over the places, or that of one `place`. None: no such plane, or a
    prediction of 0, or none at all at a place where no mode relaxes.
    """
    predicted, measured = [], []
    for planes in seeds:
        use = gated(planes, parameters, fast=fast) & ~planes["random"].values
        places = planes["predicted"].sel(place=[place] if place else planes["place"].values)
        predicted.append(places.mean("place", skipna=False).values[use])
        rates = planes["fast_batch_rate" if fast else "batch_rate"]
        measured.append(rates.transpose("batch", "plane").values[:, use])
    together = np.concatenate(predicted)
    if not np.isfinite(together).all():
        return None
    try:
        return prediction_slope(
            together, np.concatenate(measured, axis=1), level=parameters["level"]
        )
    except SeriesError:
        return None
