"""The rule on currents, of the part `planes` of the measurement, one a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from limitcycles.statistics.blocks import SeriesError
from limitcycles.statistics.detection import ENVELOPE, NUMBERS, Detection, detect
from limitcycles.statistics.slopes import Slope, prediction_slope


def detections(
    seeds: Sequence[xr.Dataset], parameters: dict, *, fast: bool = False
) -> list[Detection]:
    """What the detector says of the planes of each seed, at a level for those of all of them.

    `fast`: of the coordinates without their slow parts, by gate and interval alone.
    """
    its = {key: parameters[key] for key in ("level", "shift", "ratio")}
    total = sum(planes.sizes["plane"] for planes in seeds)
    names = {n: f"fast_{n}" for n in NUMBERS} if fast else {n: n for n in (*NUMBERS, *ENVELOPE)}
    return [
        detect({name: planes[key].values for name, key in names.items()}, planes=total, **its)
        for planes in seeds
    ]


def finds(found: Sequence[Detection]) -> bool | None:
    """Whether a plane of a seed has a current; None: no plane passes the gate."""
    if not any(one.stationary.any() for one in found):
        return None
    return any(one.found.any() for one in found)


def slope(
    seeds: Sequence[xr.Dataset], parameters: dict, *, fast: bool = False, place: str | None = None
) -> Slope | None:
    """The slope over the planes of all seeds that pass the gate and have a prediction.

    The prediction is the mean over the places, or that of one `place`. None: no such plane, or a
    prediction of 0, or none at all at a place where no mode relaxes.
    """
    predicted, measured = [], []
    for planes, found in zip(seeds, detections(seeds, parameters, fast=fast), strict=True):
        use = found.stationary & ~planes["random"].values
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
