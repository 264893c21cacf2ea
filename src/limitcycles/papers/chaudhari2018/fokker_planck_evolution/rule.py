"""The density of an ensemble of (3) follows the Fokker–Planck equation (FP)."""

from __future__ import annotations

import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level",)
ARMS = ("wells", "rotation", "varying-line", "varying-isotropic", "varying-tensor")

SMALL = 0.25  # of the envelope: an error that adds 3 % to it in quadrature


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where the distance lies within the envelope at every time."""
    found = evidence.parts["ensembles"]
    level = entry["rule_parameters"]["level"]
    arms, outside = [], []
    for name in entry["arms"]:
        mine = found.sel(system=name)
        ratio = mine["distance"] / mine["envelope"]
        statistics = [
            largest("L1 distance over its envelope", ratio.values, unit="1", level=level),
            largest("L1 distance", mine["distance"].values, unit="1", level=level),
        ]
        arms.append(arm(entry, name, bool((ratio <= 1).all()), statistics))
        outside.append(bool((ratio > 1).all()))
    verdict, caveats = all_agree(arms)
    if all(outside):
        verdict = Verdict.CONTRADICTED
    if caveats and bool((found["distance"] <= found["envelope_of_all"]).all()):
        chance = 100 * (1 - level ** len(arms))
        caveats.append(
            f"where the claim is true one of {len(arms)} such envelopes is left in {chance:.0f} % "
            "of all cases; none of the systems leaves the envelope that is shared over all"
        )
    worst = max(arms, key=lambda a: a["statistics"][0]["value"])["statistics"][0]
    controls = _controls(found, evidence.parts["control"])
    checks = _checks(found, evidence.parts["control"])
    return Outcome(verdict, worst, arms, controls, checks, caveats)


def _controls(found: xr.Dataset, linear: xr.Dataset) -> list[dict]:
    ratio = float((linear["distance"] / linear["envelope"]).max())
    varying = found.dropna("system", subset=["stratonovich_distance"])
    wrong = (varying["stratonovich_distance"] / varying["envelope"]).max("time")
    return [
        positive(
            "a linear system with a rotation",
            "largest L1 distance over its envelope",
            ratio,
            ratio <= 1,
        ),
        negative(
            "the Stratonovich reading of " + ", ".join(varying["system"].values),
            "largest L1 distance over its envelope, in the system where it is smallest",
            wrong.min(),
            (wrong > 1).all(),
        ),
    ]


def _checks(found: xr.Dataset, linear: xr.Dataset) -> list[dict]:
    def share(name: str, dataset: xr.Dataset = found, of: str = "envelope") -> float:
        return float((dataset[name] / dataset[of]).max())

    of_all = share("distance", of="envelope_of_all")
    grid, solver, time = share("grid_error"), share("solver_distance", linear), share("step_error")
    step, coarser = found.attrs["time_step"], found.attrs["coarser"]
    return [
        check(
            "second rule, the envelope shared over all systems",
            of_all <= 1,
            f"the largest distance is {wording.number(of_all)} of that envelope",
        ),
        check(
            "error of the grid",
            max(grid, solver) <= SMALL,
            f"at most {wording.number(grid)} of the envelope, from a grid half as fine; "
            f"{wording.number(solver)} for the linear system, from its closed form; "
            f"at most {SMALL:g} is asked for, which adds about 3 % in quadrature",
        ),
        check(
            "time step of the paths",
            time <= SMALL,
            f"at most {wording.number(time)} of the envelope: with steps of "
            f"{coarser * step:g} instead of {step:g} and the same Brownian paths the largest "
            f"distance is {wording.number(share('coarse_distance'))} of the envelope, instead of "
            f"{wording.number(share('distance'))}",
        ),
    ]
