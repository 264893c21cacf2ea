"""F = (D + Q)U near a critical point, and the covariance that it predicts (Lemma 20)."""

from __future__ import annotations

import math

import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, statistic
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, negative, positive
from limitcycles.statistics.intervals import EXPECTED

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "residual", "half_width")
ARMS = ("d2", "d4", "d8")


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge each random system; an arm agrees where all of its systems do."""
    parameters = entry["rule_parameters"]
    systems = evidence.parts["systems"]
    level = parameters["level"]
    arms, missed = [], []
    for name in entry["arms"]:
        mine = systems.sel(dimension=int(name.removeprefix("d")))
        statistics = [
            statistic(
                "ratio of simulated to predicted covariance",
                _given(mine["ratio"]),
                scale=EXPECTED,
                unit="1",
                level=level,
            ),
            largest("residual of F = (D + Q)U", mine["residual"].values, unit="1", level=level),
            largest("residual of Q + Qᵀ = 0", mine["antisymmetry"].values, unit="1", level=level),
        ]
        arms.append(arm(entry, name, bool(passes(mine, parameters).all()), statistics))
        missed.append(bool(misses(mine, parameters["half_width"]).all()))
    verdict, caveats = all_agree(arms)
    if all(missed):
        verdict = Verdict.CONTRADICTED
    return Outcome(
        verdict, arms[0]["statistics"][0], arms, _controls(entry, systems), caveats=caveats
    )


def _given(values: xr.DataArray) -> list[float]:
    """All values, without the places of directions that a system does not have."""
    return [float(v) for v in values.values.ravel() if not math.isnan(v)]


def passes(systems: xr.Dataset, parameters: dict, prefix: str = "") -> xr.DataArray:
    """Which systems meet the rule; `prefix` "hessian_" for the control."""
    low, high = systems[f"{prefix}low"], systems[f"{prefix}high"]
    exact = (systems["residual"] <= parameters["residual"]) & (
        systems["antisymmetry"] <= parameters["residual"]
    )
    contains = (low <= 1) & (high >= 1) & ((high - low) / 2 <= parameters["half_width"])
    return exact & (contains | low.isnull()).all("direction")


def misses(systems: xr.Dataset, distance: float) -> xr.DataArray:
    """Of which systems an interval of the ratio lies further than `distance` from 1."""
    return ((systems["low"] > 1 + distance) | (systems["high"] < 1 - distance)).any("direction")


def _controls(entry: dict, systems: xr.Dataset) -> list[dict]:
    planted = float(systems["planted_error"].max())
    fooled = passes(systems, entry["rule_parameters"], "hessian_").all("system")
    return [
        positive(
            f"{systems.sizes['system'] * systems.sizes['dimension']} systems put together from "
            "D, Q and U",
            "largest relative error of Q and U",
            planted,
            planted <= entry["rule_parameters"]["residual"],
        ),
        negative("the Hessian in place of U", "arms that agree", fooled.sum(), not fooled.any()),
    ]
