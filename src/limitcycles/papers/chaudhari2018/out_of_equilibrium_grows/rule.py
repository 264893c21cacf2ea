"""Does the distance between modes and critical points grow with the temperature? (Rem. 25, 26)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, sloped
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, positive
from limitcycles.statistics.convergence import Slope, log_log_slope

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "slope", "resolved")
NEEDED_ARMS = ("constant",)
ARMS = ("constant", "varying-scalar", "varying-tensor")

CONSTANT = "constant"  # the arm with constant D; all others have a varying one
POSITIVE, NEGATIVE = "line", "still"


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge each system by the interval of its slope."""
    parameters, shifts = entry["rule_parameters"], evidence.parts["shifts"]
    arms, rising, falling = [], {}, {}
    for name in entry["arms"]:
        mine = shifts.sel(system=name)
        found = slope(mine, parameters)
        statistics = [] if found is None else [_statistic(found, mine, parameters["level"])]
        statistics.append(largest("distance of a mode from a critical point", mine["distance"]))
        rising[name] = grows(found, parameters)
        falling[name] = found is not None and found.interval[1] < parameters["slope"]
        arms.append(arm(entry, name, rising[name], statistics))
    varying = [name for name in entry["arms"] if name != CONSTANT]
    both = rising[CONSTANT], all(rising[name] for name in varying)
    caveats = []
    if all(both):
        verdict = Verdict.REPRODUCED
    elif any(both):
        verdict = Verdict.WITH_CAVEAT
        caveats.append(f"only for {'constant' if both[0] else 'varying'} D")
    else:
        verdict = Verdict.CONTRADICTED if all(falling.values()) else Verdict.NOT_REPRODUCED
    wide = evidence.parts["wide_shifts"].sel(system=list(entry["arms"]))
    caveats += _turning(wide)
    return Outcome(
        verdict,
        arms[0]["statistics"][0],
        arms,
        _controls(entry, shifts),
        [
            _first_order(shifts.sel(system=list(entry["arms"]))),
            _two_decades(wide),
            _width(shifts, entry),
            _force(shifts, list(entry["arms"])),
        ],
        caveats,
    )


def resolved(system: xr.Dataset, parameters: dict) -> bool:
    """Is the distance at every temperature at least `resolved` times its error?"""
    return bool((system["distance"] >= parameters["resolved"] * system["error"]).all())


def slope(system: xr.Dataset, parameters: dict) -> Slope | None:
    """Of log distance against log T, with its interval; None where there is no shift."""
    if not resolved(system, parameters):
        return None
    return log_log_slope(
        system["temperature"].values, system["distance"].values, parameters["level"]
    )


def grows(found: Slope | None, parameters: dict) -> bool:
    """Does the interval of the slope lie above the bound?"""
    return found is not None and found.interval[0] > parameters["slope"]


def _statistic(found: Slope, system: xr.Dataset, level: float) -> dict:
    name, count = "slope of log distance against log T", system.sizes["temperature"]
    return sloped(name, found.slope, found.interval, count, level=level, values=[found.slope])


def _first_order(shifts: xr.Dataset) -> dict:
    ratio = (shifts["distance"] / shifts["predicted"]).values
    cold = np.abs(ratio[:, 0] - 1)
    return check(
        "the expansion for small T agrees",
        (cold < 0.1).all(),
        "to first order the shift is T times a vector known without any grid, so that "
        f"the slope tends to 1; at the lowest T the distances are within {100 * cold.max():.1f} % "
        f"of that, at the highest {ratio[:, -1].min():.2g} to {ratio[:, -1].max():.2g} times it",
    )


def _turning(wide: xr.Dataset) -> list[str]:
    """A caveat that names the systems whose distance falls somewhere over the two decades."""
    falls = (wide["distance"].diff("temperature") <= 0).any("temperature")
    names = [str(name) for name in wide["system"].values[falls.values]]
    low, high = wide["temperature"].values[[0, -1]]
    if not names:
        return []
    return [f"over two decades, T from {low:g} to {high:g}, the distance falls again for "
            f"{', '.join(names)}"]  # fmt: skip


def _two_decades(wide: xr.Dataset) -> dict:
    def told(name) -> str:
        return f"{name} " + ", ".join(f"{v:.3g}" for v in wide["distance"].sel(system=name).values)

    temperatures = ", ".join(f"{T:.2g}" for T in wide["temperature"].values)
    return check(
        "third rule, two decades of T",
        not _turning(wide),
        f"distances at T = {temperatures}: "
        f"{'; '.join(map(told, wide['system'].values))}. "
        "At the highest T modes may part or meet, and the nearest one is another",
    )


def _width(shifts: xr.Dataset, entry: dict) -> dict:
    slopes = [slope(shifts.sel(system=name), entry["rule_parameters"]) for name in entry["arms"]]
    found = [s.interval[0] for s in slopes if s is not None]
    return check(
        "faster than the width of a well",
        bool(found) and min(found) > 0.5,
        "wells widen as √T, slope ½: a shift with a steeper slope grows in units of "
        "their width too. Where f is quadratic and D constant there is no shift at any T, whatever "
        "the force",
    )


def _force(shifts: xr.Dataset, arms: list[str]) -> dict:
    ends = shifts["force"].sel(system=arms).values[:, [0, -1]]
    told = "; ".join(f"{a} {v[0]:.2g} and {v[1]:.2g}" for a, v in zip(arms, ends, strict=True))
    return check(
        "the force itself grows with T",
        (ends[:, 1] > ends[:, 0]).all(),
        f"another measure: ‖j‖/‖∇f‖ at the lowest and the highest T is {told}",
    )


def _controls(entry: dict, shifts: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    line, still = (shifts.sel(system=name) for name in (POSITIVE, NEGATIVE))
    found = slope(line, parameters)
    off = float(np.abs(line["distance"] / line["predicted"] - 1).max())
    share = float((still["distance"] / still["error"]).max())
    return [
        positive(
            "one dimension, D = 1 + x/2 + x²/10",
            "largest relative distance from the closed form",
            off,
            grows(found, parameters) and off <= 0.01,
        ),
        negative(
            "two wells, D = I",
            "largest distance relative to its error",
            share,
            not grows(slope(still, parameters), parameters),
        ),
    ]
