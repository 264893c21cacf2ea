"""With isotropic D, (FP) is the Wasserstein gradient flow of F (Corollary 8)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, sloped
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.statistics.convergence import Slope, log_log_slope

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "slope", "no_slope", "distance")
ARMS = ("line-quadratic", "line-wells", "plane-wells")

SMALL = 0.5  # of the distance, that a coarser grid or more blur may change in it


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where JKO steps converge to (FP), and come close to it."""
    parameters = entry["rule_parameters"]
    flows = evidence.parts["flows"]
    level = parameters["level"]
    arms, none = [], []
    for name in entry["arms"]:
        steps, errors = given(flows.sel(arm=name), "distance")
        fit = log_log_slope(steps, errors, level)
        last = flows["distance"].sel(arm=name, step=steps.min()).values
        statistics = [
            _sloped(fit, steps, errors, level),
            largest("distance at the smallest step", last, unit="1", level=level),
        ]
        arms.append(arm(entry, name, passes(steps, errors, parameters), statistics))
        none.append(fit.interval is not None and fit.interval[1] < parameters["no_slope"])
    verdict, caveats = all_agree(arms)
    if all(none):
        verdict = Verdict.CONTRADICTED
    lowest = min((a["statistics"][0] for a in arms), key=lambda s: s["value"])
    controls = _controls(entry, flows, evidence.parts["free"])
    return Outcome(verdict, lowest, arms, controls, _checks(flows), caveats)


def given(flow: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps that a flow was computed with, and the largest distance over time of each."""
    errors = flow[name].max("time")
    there = np.isfinite(errors.values)
    return flow["step"].values[there], errors.values[there]


def _sloped(fit: Slope, steps: np.ndarray, errors: np.ndarray, level: float) -> dict:
    name = "slope of log distance against log step"
    return sloped(name, fit.slope, fit.interval, len(steps), level=level, values=errors)


def passes(steps: np.ndarray, errors: np.ndarray, parameters: dict) -> bool:
    """Whether distances have a slope above the rule's, and the last is small."""
    fit = log_log_slope(steps, errors, parameters["level"])
    return bool(
        fit.interval is not None
        and fit.interval[0] > parameters["slope"]
        and errors[int(np.argmin(steps))] <= parameters["distance"]
    )


def _controls(entry: dict, flows: xr.Dataset, free: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    names = [str(name) for name in flows["arm"].values]
    doubled = [given(flows.sel(arm=name), "doubled") for name in names]
    doubled.append(given(free, "doubled"))
    return [
        positive(
            "free diffusion on the line",
            "distance at the smallest step",
            given(free, "distance")[1][int(np.argmin(free["step"].values))],
            passes(*given(free, "distance"), parameters),
        ),
        negative(
            "twice the temperature: all arms and free diffusion",
            "smallest distance at any step",
            min(errors.min() for _, errors in doubled),
            not any(passes(*each, parameters) for each in doubled),
        ),
    ]


def _checks(flows: xr.Dataset) -> list[dict]:
    parts, shares = [], []
    for name in (str(n) for n in flows["arm"].values):
        steps, errors = given(flows.sel(arm=name), "distance")
        plane = bool(np.isfinite(flows["entropic_change"].sel(arm=name)))
        at = flows.attrs["compared_step"] if plane else steps.min()
        distance = float(errors[np.argmin(np.abs(steps - at))])
        for key, words in (
            ("grid_change", "half as many quantiles or cells a side"),
            ("entropic_change", "twice the entropic blur"),
        ):
            change = float(flows[key].sel(arm=name))
            if np.isfinite(change):
                shares.append(change / distance)
                parts.append(f"{name}, {words}: {wording.number(100 * change / distance)} %")
    return [
        check(
            "what the discretisation adds",
            max(shares) <= SMALL,
            "change of the distance, at the smallest step on the line and at the longest "
            "in the plane: " + "; ".join(parts),
        )
    ]
