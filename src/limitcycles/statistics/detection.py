"""The detector of currents in planes chosen beforehand: a gate, an interval and an envelope.

A plane has a current if both its directions are in a steady state (`stationarity.halves`), if the
t interval of its area rate excludes 0, and if its circular area rate lies outside the envelope of
surrogates with independent phases, ±z deviations (a sum over many frequencies, so nearly normal).
Interval and envelope have Šidák's level, level^(1/planes), for all planes that are looked at. Where
planes depend on each other (they share directions) this is too strict, and never too lax.

What is calibrated on processes whose answer is known and what judges networks is this one function.
The calibration looks at one plane a run, a claim at all planes of all its seeds together: there the
level of each plane is stricter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from limitcycles.statistics import currents
from limitcycles.statistics.blocks import probability
from limitcycles.statistics.long_run import BATCHES, batch_means, batches_of
from limitcycles.statistics.stationarity import halves

GATE = ("shift_low", "shift_high", "log_ratio_low", "log_ratio_high")
ENVELOPE = ("circular_rate", "surrogate_deviation")
NUMBERS = ("rate", "error", "batch_rate", *GATE)  # what `detect` needs for the gate and interval


def measure(coordinates, *, level: float, batches: int = BATCHES) -> dict[str, np.ndarray]:
    """Area rates and gate of `coordinates` (step, plane, 2).

    `rate` and its standard `error` by batch means, (plane,), and `batch_rate` (plane, batch), all
    weight² per step; ends of the intervals of the gate, (plane, 2), at two one-sided tests of that
    `level`: `shift_low`, `shift_high` (deviations) and `log_ratio_low`, `log_ratio_high` (nats).
    Raises SeriesError: shapes, values not finite, too few steps.
    """
    areas = currents.areas(coordinates)
    mean = batch_means(areas, batches=batches)
    coordinates = np.asarray(coordinates)
    gate = halves(coordinates.reshape(len(coordinates), -1), level=level, batches=batches)
    return {
        "rate": mean.mean,
        "error": mean.error,
        "batch_rate": batches_of(areas, batches).mean(1).T,
    } | {name: getattr(gate, name).reshape(-1, 2) for name in GATE}


def envelope(coordinates) -> dict[str, np.ndarray]:
    """`circular_rate` of `coordinates` and its `surrogate_deviation`, (plane,), weight²."""
    return {
        "circular_rate": currents.circular_area_rates(coordinates),
        "surrogate_deviation": currents.surrogate_deviation(coordinates),
    }


@dataclass(frozen=True)
class Detection:
    """What the detector says of each plane; arrays of shape (plane,), bool.

    `stationary`: passes the gate; `clear`: the interval excludes 0; `outside`: the rate lies
    outside the envelope, None if that was not measured.
    """

    stationary: np.ndarray
    clear: np.ndarray
    outside: np.ndarray | None

    @property
    def found(self) -> np.ndarray:
        """Which planes have a current: all that was looked at says so."""
        both = self.stationary & self.clear
        return both if self.outside is None else both & self.outside


def corrected(level: float, planes: int) -> float:
    """The level of one of `planes` planes, by Šidák's correction."""
    return probability(level) ** (1 / planes)


def detect(
    numbers: Mapping[str, np.ndarray], *, level: float, shift: float, ratio: float, planes: int
) -> Detection:
    """Which planes have a current, from what `measure` says of them, and `envelope` if it is there.

    `shift` and `ratio` are the tolerances of the gate (`stationarity.halves`), `level` that of the
    answer for all of `planes` planes, which may be more than these.
    """
    same = (numbers["shift_low"] > -shift) & (numbers["shift_high"] < shift)
    same &= (numbers["log_ratio_low"] > -np.log(ratio)) & (
        numbers["log_ratio_high"] < np.log(ratio)
    )
    one = (1 + corrected(level, planes)) / 2
    t = stats.t.ppf(one, numbers["batch_rate"].shape[1] - 1)
    clear, outside = np.abs(numbers["rate"]) > t * numbers["error"], None
    if "circular_rate" in numbers:
        ends = stats.norm.ppf(one) * numbers["surrogate_deviation"]
        outside = np.abs(numbers["circular_rate"]) > ends
    return Detection(same.all(1), clear, outside)
