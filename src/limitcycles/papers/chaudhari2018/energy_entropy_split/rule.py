"""F(ρ) = E_ρ[Φ] − T H(ρ) up to a constant (11)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import largest, single
from limitcycles.judging.result import Outcome, Verdict, all_agree, arm, check, negative, positive
from limitcycles.statistics.convergence import power_of_spacing

# What the rule reads of its entry of the ledger.
PARAMETERS = ("spread", "clear_spread", "order")
ARMS = ("wells", "example-19", "rotation-varying", "linear", "varying-diagonal", "varying-tensor")

ROUNDING = 1e-12  # a smaller spread has no order
IDENTITY = check(
    "an identity",
    True,
    "once Φ is defined as −T log ρ^ss, (11) is algebra for every density: the first rule "
    "tests the arithmetic alone. The second can fail: its Φ is written down, and the solver only "
    "knows the drift and D",
)


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """An arm agrees where the spread is small, and with Φ in closed form an error of the grid."""
    parameters = entry["rule_parameters"]
    limit = parameters["spread"]
    steps = evidence.parts["steps"]
    cells = steps["cells"].values
    arms, clear = [], []
    for name in entry["arms"]:
        discrete = spreads(steps, name, "energy")
        closed = spreads(steps, name, "closed_energy")
        power = power_of_spacing(cells, closed)
        finest = closed[int(np.argmax(cells))]
        small = max(discrete) <= limit
        vanishes = finest <= limit or power >= parameters["order"]
        statistics = [
            largest("spread, Φ of the solver", discrete, unit="1", level=None) | {"paper": 0.0},
            largest("spread, Φ in closed form", closed, unit="1", level=None) | {"paper": 0.0},
            single(
                "power of the spacing, Φ in closed form",
                power if finest > ROUNDING else None,
                n=len(cells),
                values=closed,
            ),
        ]
        arms.append(arm(entry, name, small and vanishes, statistics))
        clear.append(min(discrete) > parameters["clear_spread"])
    verdict, caveats = all_agree(arms)
    slow = [a for a in arms if not a["agrees"] and a["statistics"][0]["value"] <= limit]
    if verdict == Verdict.WITH_CAVEAT and slow:
        caveats.append(
            f"the first rule holds for {', '.join(a['name'] for a in slow)} too; with Φ in closed "
            f"form the spread on grids of {cells.min()} to {cells.max()} cells a side falls with "
            f"the power {', '.join(wording.number(a['statistics'][2]['value']) for a in slow)} only"
        )
    if all(clear):
        verdict = Verdict.CONTRADICTED
    worst = max((a["statistics"][0] for a in arms), key=lambda s: s["value"])
    controls = _controls(entry, steps, evidence.parts["gaussian"])
    checks = [IDENTITY, _second(arms, cells)]
    return Outcome(verdict, worst, arms, controls, checks, caveats)


def spread(F: np.ndarray, energy: np.ndarray, entropy: np.ndarray) -> float:
    """Largest minus smallest F − E + T·H over time, over the largest F; `entropy` is T·H."""
    return float(np.ptp(F - energy + entropy) / F.max())


def spreads(steps: xr.Dataset, system: str, energy: str) -> list[float]:
    """One for each grid of a system."""
    names = ("free_energy", energy, "entropy")
    runs = [steps.sel(system=system, cells=cells) for cells in steps["cells"].values]
    return [
        spread(*(run[name].values[np.isfinite(run["time"].values)] for name in names))
        for run in runs
    ]


def _controls(entry: dict, steps: xr.Dataset, gaussian: xr.Dataset) -> list[dict]:
    limit = entry["rule_parameters"]["spread"]
    energy, entropy = gaussian["energy"].values, gaussian["entropy"].values
    exact = [
        spread(gaussian[name].values, energy, entropy)
        for name in ("free_energy", "sum_free_energy")
    ]
    anisotropic = [
        str(name)
        for name in steps["system"].values[~steps["isotropic"].values.astype(bool)]
        if np.isfinite(steps["loss_energy"].sel(system=name).values).any()
    ]
    with_loss = [spreads(steps, name, "loss_energy") for name in anisotropic]
    powers = [power_of_spacing(steps["cells"].values, errors) for errors in with_loss]
    wrong = min(min(errors) for errors in with_loss)
    return [
        positive(
            "a Gaussian in closed form, with F by formula and by sums over the grid",
            "largest spread",
            max(exact),
            max(exact) <= limit,
        ),
        negative(
            "the loss f in place of Φ: " + ", ".join(anisotropic),
            "smallest spread",
            wrong,
            wrong > limit and max(powers) < entry["rule_parameters"]["order"],
        ),
    ]


def _second(arms: list[dict], cells: np.ndarray) -> dict:
    finest = int(np.argmax(cells))
    parts = []
    for a in arms:
        _, closed, power = a["statistics"]
        last = closed["values"][finest]
        words = f"{a['name']} {wording.number(last)}"
        known = power["value"] is not None
        parts.append(f"{words} (power {wording.number(power['value'])})" if known else words)
    return check(
        "second rule, Φ in closed form",
        all(a["agrees"] for a in arms),
        f"spread on the grid of {cells[finest]}² cells, and the power of the spacing "
        "with which it falls: " + "; ".join(parts),
    )
