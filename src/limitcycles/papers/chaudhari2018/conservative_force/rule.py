"""∇·j = 0, j ⟂ ∇Φ, and no effect of j on the free energy? (Assumption 4, App. B–C)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest
from limitcycles.judging.result import Outcome, Verdict, arm, check, negative, paper_value, positive
from limitcycles.judging.wording import listed

# What the rule reads of its entry of the ledger.
PARAMETERS = ("zero", "not_zero")
PAPER = ("mean |cos(j, ∇Φ)|",)
ARMS = ("paper", "linear", "built", "equilibrium", "general")

NAMES = {
    "cosine": "mean |cos(j, ∇Φ)|",
    "divergence": "∇·j relative to ∂j",
    "share": "share of dF/dt from j",
}


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge every system by its three numbers; an arm agrees where all of its systems do."""
    parameters, systems = entry["rule_parameters"], evidence.parts["systems"]
    paper = paper_value(entry, NAMES["cosine"])
    arms = []
    for name in entry["arms"]:
        mine = systems.sel(system=systems["family"] == name)
        statistics = [largest(title, mine[key].values) for key, title in NAMES.items()]
        statistics[0]["paper"] = paper
        agrees = bool(passes(mine, parameters["zero"]).all())
        arms.append(arm(entry, name, agrees, statistics))
    verdict, caveats = _verdict(systems, parameters)
    worst = max((a["statistics"][0] for a in arms), key=lambda s: s["value"])
    return Outcome(
        verdict,
        worst,
        arms,
        _controls(entry, evidence.parts["controls"]),
        _checks(systems, parameters["zero"]),
        caveats,
    )


def passes(systems: xr.Dataset, zero: float) -> xr.DataArray:
    """Of which systems all three numbers are at most `zero`."""
    return (
        (systems["divergence"] <= zero) & (systems["cosine"] <= zero) & (systems["share"] <= zero)
    )


def _verdict(systems: xr.Dataset, parameters: dict) -> tuple[str, list[str]]:
    zero, large = parameters["zero"], parameters["not_zero"]
    good = passes(systems, zero)
    refuted = (
        (systems["divergence"] <= zero) & (systems["cosine"] > large) & (systems["share"] > large)
    )
    if refuted.any():
        return Verdict.CONTRADICTED, []
    if good.all():
        return Verdict.REPRODUCED, []
    built = systems["assumption_4"] == 1
    if not (built.any() and (good | ~built).all()):
        return Verdict.NOT_REPRODUCED, []
    missing = [str(s) for s in systems["system"].values[~good.values]]
    return Verdict.WITH_CAVEAT, [
        "holds only for systems that are built to meet Assumption 4 (linear ones, and those "
        "without a force, among them). Not in the paper's own Example 19 (λ ≠ 0), nor in any other "
        f"system with a force that was not built for it: {listed(missing)}"
    ]


def _checks(systems: xr.Dataset, zero: float) -> list[dict]:
    known = systems["stationary"] >= 0
    own = systems.sel(system=systems["family"] == "paper")
    gridded = systems.sel(system=systems["cosine_grid"].notnull() & known)
    apart = max(float(np.abs(gridded[f"{k}_grid"] - gridded[k]).max()) for k in NAMES)
    energy = own["energy_share"].values
    return [
        check(
            "one assumption, not two",
            (systems["stationary"].where(known, 1) == 1).all(),
            f"by sympy, ∇·j = j·∇Φ/T in all {int(known.sum())} systems with a known Φ: "
            "it is what stationarity means. So ∇·j = 0 and j ⟂ ∇Φ are the same condition, and "
            "(A5) does follow from Assumption 4",
        ),
        check(
            "j leaves F alone, with or without Assumption 4",
            (systems["share"] <= zero).all(),
            f"its share of dF/dt is at most {float(systems['share'].max()):.2g} in all "
            f"{systems.sizes['system']} systems: T∫ρ^ss j·∇(ρ/ρ^ss) = 0 by stationarity alone. "
            "In Example 19 it does change E[Φ], by "
            f"{' and '.join(f'{value:.2g}' for value in energy)} of dF/dt, and the entropy as much",
        ),
        check(
            "Example 19 by sympy",
            (own["divergence_free"] == 0).all() and (own["gradient"] == 0).all(),
            "for λ ≠ 0, ∇·j ≠ 0, and what the paper calls ∇f is no gradient; e^{−Φ} is "
            "stationary all the same",
        ),
        check(
            "closed form and grid agree",
            apart <= zero,
            f"{gridded.sizes['system']} systems; the three numbers differ by at most {apart:.2g}",
        ),
    ]


def _controls(entry: dict, controls: xr.Dataset) -> list[dict]:
    zero = entry["rule_parameters"]["zero"]
    plain, radial = (controls.isel(control=i) for i in (0, 1))
    return [
        positive(
            "j = (−x₂, x₁), Φ = |x|²/2",
            "largest of the three numbers",
            max(float(plain[key]) for key in NAMES),
            passes(plain, zero),
        ),
        negative(
            "j = (−x₂, x₁) + x/2",
            "smallest of the three numbers",
            min(float(radial[key]) for key in NAMES),
            not bool(passes(radial, zero)),
        ),
    ]
