"""The verdict on Assumption 4 from made-up measurements."""

import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("conservative-force")
FAMILIES = {
    "double_well λ=0.5": "paper",
    "rotational_ou": "linear",
    "hopf_ring": "built",
    "linear_isotropic": "equilibrium",
    "van_der_pol": "general",
}
NUMBERS = ("divergence", "cosine", "share", "energy_share")
BROKEN = {"divergence": 0.3, "cosine": 0.5, "energy_share": 0.2, "assumption_4": 0}


def measured(controls=(0.0, 0.5), **changes) -> dict[str, xr.Dataset]:
    """All as claimed; `changes` are {family: {variable: value}}."""
    rows = []
    for family in FAMILIES.values():
        row = {"family": family, "force": 0.0 if family == "equilibrium" else 0.4, "dimension": 2}
        row |= dict.fromkeys(("divergence_free", "orthogonal", "stationary", "assumption_4"), 1)
        row |= {"gradient": 0} | dict.fromkeys(NUMBERS, 1e-6) | changes.get(family, {})
        if family == "paper":
            row["divergence_free"] = 0
        for key in NUMBERS:
            row |= {f"{key}_grid": row[key] + changes.get("apart", 1e-4), f"{key}_error": 1e-3}
        rows.append(row)
    variables = {key: ("system", [row[key] for row in rows]) for key in rows[0]}
    return {
        "systems": xr.Dataset(variables, coords={"system": list(FAMILIES)}),
        "controls": xr.Dataset(
            {key: ("control", list(controls)) for key in NUMBERS},
            coords={"control": ["rotation", "with a radial part"]},
        ),
    }


def decide(**changes) -> dict:
    return CLAIM.judge(measured(**changes))


def test_reproduced():
    result = decide()
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["caveat"] is None
    assert all(arm["agrees"] for arm in result["arms"])
    assert result["statistic"]["paper"] == 0
    assert all(c["passed"] for c in result["controls"])


@pytest.mark.parametrize("key", ["divergence", "cosine", "share"])
def test_a_caveat_where_only_systems_built_for_it_pass(key):
    result = decide(paper={key: 0.011, "assumption_4": 0}, general=BROKEN)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert [a["name"] for a in result["arms"] if a["agrees"]] == ["linear", "built", "equilibrium"]
    assert result["caveat"].endswith("double_well λ=0.5, van_der_pol")


def test_a_system_that_passes_without_the_assumption_takes_nothing_away():
    result = decide(paper=BROKEN, general={"assumption_4": -1})
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].endswith("built for it: double_well λ=0.5")


def test_not_reproduced_where_one_that_is_built_fails_or_nothing_passes():
    assert decide(built={"share": 0.02})["verdict"] == Verdict.NOT_REPRODUCED
    everything = dict.fromkeys(FAMILIES.values(), BROKEN)
    assert decide(**everything)["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_where_a_force_without_divergence_does_the_rest():
    refuting = {"divergence": 0.009, "cosine": 0.11, "share": 0.11}
    assert decide(built=refuting)["verdict"] == Verdict.CONTRADICTED
    assert decide(built=refuting | {"share": 0.09})["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("controls", [(0.02, 0.5), (0.0, 0.009)])
def test_controls_that_misbehave_decide(controls):
    assert misbehaved(decide(controls=controls))


def test_checks_can_fail():
    assert all(check["holds"] for check in decide()["checks"])
    result = decide(built={"stationary": 0, "share": 0.02}, paper={"gradient": 1}, apart=0.02)
    assert not any(check["holds"] for check in result["checks"])


def test_charts_are_drawn_from_the_measurement():
    drawn = CLAIM.charts(measured(paper=BROKEN, general=BROKEN))
    assert "The 2 that meet" in drawn["three-numbers"]["description"]
