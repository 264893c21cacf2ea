"""Does (19) hold, and do modes of ρ^ss lie where it says, off critical points of f? (Thm 22)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, single, smallest
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.judging.wording import listed

# What the rule reads of its entry of the ledger.
PARAMETERS = ("residual", "spacings", "prediction_percent", "no_shift_spacings")
NEEDED_ARMS = ("example-19",)
ARMS = (
    "example-19",
    "example-19-strong",
    "constant-tensor",
    "varying-scalar",
    "varying-diagonal",
    "varying-tensor",
    "from-potential",
    "rotation-varying",
    "rotation-constant",
    "commuting",
)

CONTROL = "control"  # the system without any shift
POSITIVE = "example-19"


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Judge each system by its residual and by those of its modes that (19) shifts."""
    parameters, systems = entry["rule_parameters"], evidence.parts["systems"]
    arms = []
    for name in entry["arms"]:
        mine = systems.sel(system=name)
        given = ~np.isnan(mine["spacings"].values)
        statistics = [
            largest(
                "distance of a mode from a critical point", mine["spacings"][given], "spacings"
            ),
            single("residual of (19)", float(mine["residual"])),
        ]
        off = deviations(mine, parameters)
        if off.size:
            shifted = shifts(mine, parameters)
            statistics += [
                smallest("distance, modes that shift", mine["spacings"][shifted], "spacings"),
                largest("deviation from the prediction", 100 * off, "%"),
            ]
        arms.append(arm(entry, name, passes(mine, parameters), statistics))
    verdict, caveats = all_agree(arms)
    judged = systems.sel(system=list(entry["arms"]))
    if bool(judged["spacings"].max() < parameters["no_shift_spacings"]):
        verdict, caveats = Verdict.CONTRADICTED, []
    own = next(a for a in arms if a["name"] == POSITIVE)["statistics"][0]
    return Outcome(
        verdict, own, arms, _controls(entry, systems), _checks(judged, parameters), caveats
    )


def shifts(system: xr.Dataset, parameters: dict) -> np.ndarray:
    """Which modes (19) moves by at least one spacing; (mode,), False beyond their number."""
    return system["predicted_spacings"].values >= parameters["no_shift_spacings"]


def deviations(system: xr.Dataset, parameters: dict) -> np.ndarray:
    """|distance − predicted|/predicted of the modes that shift."""
    shifted = shifts(system, parameters)
    found, expected = (system[k].values[shifted] for k in ("distance", "predicted_distance"))
    return np.abs(found - expected) / expected


def passes(system: xr.Dataset, parameters: dict) -> bool:
    """The rule for one system."""
    far = system["spacings"].values[shifts(system, parameters)] >= parameters["spacings"]
    near = deviations(system, parameters) <= parameters["prediction_percent"] / 100
    return bool(system["residual"] <= parameters["residual"] and far.all() and near.all())


def moved(system: xr.Dataset, parameters: dict) -> bool:
    """Is any mode as far from the critical points as the rule asks?"""
    return bool((system["spacings"] >= parameters["spacings"]).any())


def _checks(systems: xr.Dataset, parameters: dict) -> list[dict]:
    none = parameters["no_shift_spacings"]
    still = systems["predicted_spacings"] < none
    shifting = systems["predicted_spacings"] >= none
    measured = float(systems["spacings"].where(still).max())
    names = [str(s) for s in systems["system"].values[~shifting.any("which").values]]
    moving = [name for name in names if systems["force"].sel(system=name) > 0.01]
    away = systems["small_noise"] - systems["predicted"]
    relative = np.sqrt((away**2).sum("axis", skipna=False)) / systems["predicted_distance"]
    furthest = float(relative.where(shifting).max())
    unknown = int((systems["known"] == 0).sum())
    true = systems["gradient"] == 1
    good = [passes(systems.sel(system=s), parameters) for s in systems["system"].values[true]]
    return [
        check(
            "no shift where (19) predicts none",
            measured < none,
            f"{int(still.sum())} modes, at most {measured:.2g} spacings from a critical "
            f"point. All modes stay in {listed(names)}; there is a force all the same in "
            f"{listed(moving)}. That modes are not critical points needs ∇·(D + Q) ≠ 0 there",
        ),
        check(
            "what Q does",
            systems["force"].max() > parameters["residual"],
            "without Q the residual of (19) would be ‖j‖/‖∇f‖, up to "
            f"{float(systems['force'].max()):.2g}; with the Q of the current (19) is stationarity "
            "in other words, so that its residual is the error of the grid",
        ),
        check(
            "an expansion for small T agrees",
            furthest < 1,
            f"predictions are minima of a known Φ in {systems.sizes['system'] - unknown} "
            f"systems, and zeros of b − T∇·(D + Q) in {unknown}, with Q from a grid half as fine. "
            "Modes expanded to first order in T, without any grid, lie within "
            f"{100 * furthest:.0f} % of the shift from them",
        ),
        check(
            "with a true loss",
            bool(good) and all(good),
            f"{len(good)} of {systems.sizes['system']} systems have a drift that is the "
            "gradient of a loss; in the others, Example 19 among them, −b stands for ∇f and is no "
            "gradient, so that its zeros are the critical points of no f",
        ),
    ]


def _controls(entry: dict, systems: xr.Dataset) -> list[dict]:
    parameters = entry["rule_parameters"]
    known, still = (systems.sel(system=name) for name in (POSITIVE, CONTROL))
    furthest = float(still["spacings"].max())
    return [
        positive(
            "Example 19, λ = 0.5: from (±1, 0) to ±(0.9024, 0.3888)",
            "largest distance in units of x (0.4009 by hand)",
            known["distance"].max(),
            passes(known, parameters) and moved(known, parameters),
        ),
        negative(
            "two wells, D = I",
            "largest distance in spacings",
            furthest,
            not moved(still, parameters) and furthest < parameters["no_shift_spacings"],
        ),
    ]
