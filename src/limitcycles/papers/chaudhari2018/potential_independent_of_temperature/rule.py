"""Is the potential Φ the same at every temperature? (Thm 22)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.judging.wording import listed

# What the rule reads of its entry of the ledger.
PARAMETERS = ("same", "different")
ARMS = ("linear", "rotational", "constant-tensor", "varying-scalar", "varying-tensor", "example-19")

NAME = "difference of Φ over a decade of T"
CONTROL = "control"  # D = I/(1 + f)


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge each system by its largest difference over all pairs of temperatures."""
    parameters, potentials = entry["rule_parameters"], evidence.parts["potentials"]
    arms = []
    for name in entry["arms"]:
        mine = potentials.sel(system=name)
        statistics = [
            largest(NAME, mine["difference"].values),
            largest("discretisation error of it", mine["error"].values),
        ]
        arms.append(arm(entry, name, same(mine, parameters), statistics))
    verdict, caveats = all_agree(arms)
    if all(a["statistics"][0]["value"] >= parameters["different"] for a in arms):
        verdict, caveats = Verdict.CONTRADICTED, []
    if caveats:
        caveats.append(
            "a constant D is not enough: with a drift that does not contain T, Φ is free of T just "
            "where ∇·j = 0, that is under Assumption 4"
        )
    worst = max((a["statistics"][0] for a in arms), key=lambda s: s["value"])
    judged = potentials.sel(system=list(entry["arms"]))
    checks = [_assumption(judged, parameters), _resolved(judged, parameters), _closed(potentials)]
    return Outcome(verdict, worst, arms, _controls(entry, potentials), checks, caveats)


def same(system: xr.Dataset, parameters: dict) -> bool:
    """Is no difference above `same`?"""
    return bool((system["difference"] <= parameters["same"]).all())


def _assumption(potentials: xr.Dataset, parameters: dict) -> dict:
    constant = potentials.sel(system=potentials["constant"] == 1)
    good = [str(s) for s in constant["system"].values if same(constant.sel(system=s), parameters)]
    free = [str(s) for s in constant["system"].values[constant["divergence_free"].values == 1]]
    return check(
        "constant D: independent of T just where ∇·j = 0",
        good == free,
        "if Φ is the same at all T, the terms of each order of T in the stationary "
        "equation vanish on their own: b·∇Φ + ∇Φ·D∇Φ = j·∇Φ = 0 and ∇·b + D:∇∇Φ = ∇·j = 0. By "
        f"sympy ∇·j = 0 in {listed(free)}; found independent of T: {listed(good)}",
    )


def _resolved(potentials: xr.Dataset, parameters: dict) -> dict:
    clear = np.abs(potentials["difference"] - parameters["same"]) > potentials["error"]
    worst = float(potentials["error"].max())
    return check(
        "the grids resolve it",
        (clear | (potentials["difference"] <= parameters["same"])).all(),
        f"from grids half as fine the numbers differ by at most {worst:.2g}; no "
        "difference above the bound could be an error of the grid",
    )


def _closed(potentials: xr.Dataset) -> dict:
    found = potentials["difference"].sel(system=CONTROL)
    apart = float(np.abs(found / potentials["closed_difference"] - 1).max())
    return check(
        "closed form and grid agree",
        apart <= 0.01,
        f"for D = I/(1 + f), where Φ = f + f²/2 − T log(1 + f), within {apart:.1g} of "
        "the differences",
    )


def _controls(entry: dict, potentials: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    linear = potentials.sel(system="linear")
    exact = float(potentials["linear_difference"].max())
    varying = potentials.sel(system=CONTROL)
    return [
        positive(
            "linear, Lyapunov equation and grid",
            "largest difference",
            max(exact, float(linear["difference"].max())),
            exact <= parameters["same"] and same(linear, parameters),
        ),
        negative(
            "two wells, D = I/(1 + f)",
            "smallest difference",
            varying["difference"].min(),
            not same(varying, parameters),
        ),
    ]
