"""F(ρ) = T KL(ρ‖ρ^ss) falls monotonically along (FP), to zero (Theorem 5)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.statistics.convergence import power_of_spacing

# What the rule reads of its entry of the ledger.
PARAMETERS = ("increase", "end", "clear_increase")
ARMS = ("wells", "example-19", "rotation-varying", "linear", "varying-diagonal", "varying-tensor")

ORDER = 1.5  # least power of the spacing with which an error of discretisation falls (theory: 2)


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where F keeps to the rule on each of its grids."""
    parameters = entry["rule_parameters"]
    steps = evidence.parts["steps"]
    arms, rising = [], []
    for name in entry["arms"]:
        runs = [given(steps, name, cells, "free_energy") for cells in steps["cells"].values]
        statistics = [
            largest("F at the end over F at the start", ends(runs), unit="1", level=None)
            | {"paper": 0.0},
            largest(
                "increase of F in a step over F at the start", rises(runs), unit="1", level=None
            ),
        ]
        arms.append(arm(entry, name, passes(runs, parameters), statistics))
        rising.append(min(rises(runs)) > parameters["clear_increase"])
    verdict, caveats = all_agree(arms)
    if all(rising):
        verdict = Verdict.CONTRADICTED
    worst = max((a["statistics"][0] for a in arms), key=lambda s: s["value"])
    controls = _controls(entry, steps, evidence.parts["gaussian"])
    checks = [_closed(entry, steps), _fisher(entry, steps), _linear(steps, evidence)]
    return Outcome(verdict, worst, arms, controls, checks, caveats)


def given(steps: xr.Dataset, system: str, cells: int, name: str) -> np.ndarray:
    """One variable of one system and grid, without the places beyond its last step."""
    run = steps.sel(system=system, cells=cells)
    return run[name].values[np.isfinite(run["time"].values)]


def ends(runs: list[np.ndarray]) -> list[float]:
    """F at the end over that at the start."""
    return [float(F[-1] / F[0]) for F in runs]


def rises(runs: list[np.ndarray]) -> list[float]:
    """The largest F_{k+1} − F_k over F at the start; negative where F always falls."""
    return [float(np.diff(F).max() / F[0]) for F in runs]


def passes(runs: list[np.ndarray], parameters: dict) -> bool:
    """Whether no step raises F, and it ends at zero, as the rule has it."""
    return max(rises(runs)) <= parameters["increase"] and max(ends(runs)) < parameters["end"]


def _controls(entry: dict, steps: xr.Dataset, gaussian: xr.Dataset) -> list[dict]:
    parameters, finest = entry["rule_parameters"], steps["cells"].values.max()
    closed = [gaussian[name].values for name in ("free_energy", "sum_free_energy")]
    shifted = [given(steps, name, finest, "shifted_free_energy") for name in entry["arms"]]
    fooled = [passes([F], parameters) for F in shifted]
    return [
        positive(
            "a linear system in closed form, by formula and by sums over the grid",
            "largest F at the end over F at the start",
            max(ends(closed)),
            passes(closed, parameters),
        ),
        negative(
            "KL to the steady density shifted by one standard deviation",
            "smallest F at the end over F at the start, of all systems",
            min(ends(shifted)),
            not any(fooled),
        ),
    ]


def falls(cells: np.ndarray, errors: list[float], rounding: float) -> bool:
    """Whether errors fall like those of a grid, or the finest has only rounding."""
    return errors[int(np.argmax(cells))] <= rounding or power_of_spacing(cells, errors) >= ORDER


def _closed(entry: dict, steps: xr.Dataset) -> dict:
    """The same with ρ^ss = e^{−Φ/T} in closed form, which the solver does not know."""
    parameters, cells = entry["rule_parameters"], steps["cells"].values
    worst, floor, good = -np.inf, 0.0, True
    for name in entry["arms"]:
        runs = [given(steps, name, n, "closed_free_energy") for n in cells]
        worst = max(worst, rises([runs[int(np.argmax(cells))]])[0])
        floor = max(floor, ends([runs[int(np.argmax(cells))]])[0])
        good = good and falls(cells, ends(runs), parameters["end"])
    return check(
        "ρ^ss in closed form",
        good and worst <= parameters["increase"],
        f"with e^(−Φ/T) written down instead of the null vector of the matrix, on the "
        f"finest grid the largest increase is {wording.number(worst)} and the end at most "
        f"{wording.number(floor)} of the start, the error of the grid, which falls with its "
        "spacing",
    )


def _fisher(entry: dict, steps: xr.Dataset) -> dict:
    """−dF/dt = T² ∫ρ ∇log(ρ/ρ^ss)·D∇log(ρ/ρ^ss) ≥ 0, why F falls whatever the current."""
    cells = steps["cells"].values
    orders, errors = [], []
    for name in entry["arms"]:
        mine = []
        for n in cells:
            rate, fisher = (given(steps, name, n, key) for key in ("rate", "fisher"))
            mine.append(float(np.abs(rate - fisher).max() / rate.max()))
        orders.append(power_of_spacing(cells, mine))
        errors.append(mine[int(np.argmax(cells))])
    return check(
        "rate of the decrease",
        min(orders) >= ORDER,
        "−dF/dt against the relative Fisher information, computed from gradients: they "
        f"differ by at most {wording.number(100 * max(errors))} % on the finest grid, and the "
        f"difference falls with the power {wording.number(min(orders))} of the spacing or faster",
    )


def _linear(steps: xr.Dataset, evidence: Evidence) -> dict:
    """F of the solver against the closed form at the same times."""
    finest = steps["cells"].values.max()
    exact = evidence.parts["gaussian"]["free_energy"].values
    solved = given(steps, "linear", finest, "free_energy")
    error = float(np.abs(solved - exact).max() / exact[0])
    return check(
        "F of the linear system",
        error <= 0.01,
        f"the solver and the closed form differ by at most {wording.number(error)} of F "
        "at the start, on the finest grid (0.01 would be too much)",
    )
