"""How far a gradient norm falls: windows, trend, and when a fall agrees with the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from limitcycles.judging.numbers import statistic
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import POSITIVE

NAME = "fall of the gradient norm"  # in the ledger
SMALLEST = float(np.finfo(np.float32).tiny)  # a gradient of exactly 0 counts as this


def window_means(
    epoch: np.ndarray, norms: np.ndarray, *, after: int, last: int, share: float, fewest: int
) -> tuple[float, float]:
    """Mean norm over the first and the last `share` percent of the epochs after `after`.

    At least the `fewest` first and last gradients. Raises LimitcyclesError: fewer than twice that.
    """
    order = np.flatnonzero(epoch > after)
    if len(order) < 2 * fewest:
        raise LimitcyclesError(
            f"{len(order)} gradients after epoch {after} are too few for two windows of {fewest}; "
            "lower gradient_every of the trajectory"
        )
    length = share / 100 * (last - after)
    count_first = max(fewest, int((epoch[order] <= after + length).sum()))
    count_last = max(fewest, int((epoch[order] > last - length).sum()))
    return float(norms[order[:count_first]].mean()), float(norms[order[-count_last:]].mean())


def fall(part: xr.Dataset, mode: str, *, share: float, fewest: int, start: int | None = None):
    """First window over last of one run, in `mode`; `start`: the epoch before the first window."""
    first, last = window_means(
        part["epoch"].values,
        part[f"norm_{mode}"].values,
        after=part.attrs["after"] if start is None else start,
        last=part.attrs["epochs"],
        share=share,
        fewest=fewest,
    )
    return max(first, SMALLEST) / max(last, SMALLEST)


def agrees(found: dict, parameters: dict, paper: float) -> bool:
    """The geometric mean lies within the factor of the paper's, and its interval meets the band."""
    low, high = paper / parameters["factor"], paper * parameters["factor"]
    lower, upper = ends(found)
    return low <= found["value"] <= high and lower <= high and upper >= low


def ends(found: dict) -> tuple[float, float]:
    """The interval; with one seed the value twice."""
    return tuple(found["interval"] or [found["value"]] * 2)


def measured(
    norms: Sequence[xr.Dataset], mode: str, parameters: dict, paper: float, **window
) -> dict:
    """The falls of all seeds as a statistic, in the windows of the rule or others (see `fall`)."""
    window = {"share": parameters["share_percent"], "fewest": parameters["fewest"]} | window
    return statistic(
        f"{NAME}, {mode} mode",
        [fall(part, mode, **window) for part in norms],
        unit="1",
        level=parameters["level"],
        paper=paper,
        scale=POSITIVE,
    )


def trend(part: xr.Dataset, mode: str) -> float:
    """Fall over all epochs after the transient by a straight line through log ‖∇f‖, least squares.

    An independent look: all gradients have a part in it, and no window.
    """
    later = part["epoch"].values > part.attrs["after"]
    epoch = part["epoch"].values[later].astype(float)
    logs = np.log(np.maximum(part[f"norm_{mode}"].values[later], SMALLEST))
    slope = np.polyfit(epoch - epoch.mean(), logs, 1)[0]
    return float(np.exp(-slope * (part.attrs["epochs"] - part.attrs["after"])))
