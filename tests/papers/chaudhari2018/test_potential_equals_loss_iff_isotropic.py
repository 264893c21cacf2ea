"""The verdict on Lemma 6 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("potential-equals-loss-iff-isotropic")
SYSTEMS = {
    "linear_isotropic": "isotropic",
    "linear_commuting": "commuting",
    "linear_non_commuting": "non-commuting",
    "well": "varying",
    "invariant": "exact-cases",
}
FAMILIES = ["isotropic", "commuting", "non-commuting"]


def measured(**changes) -> dict[str, xr.Dataset]:
    """As the lemma says; `changes` are {system: (residual, force)}, "random": {family: ...}."""
    numbers = {s: (0.0, 0.0) if f == "isotropic" else (0.3, 0.2) for s, f in SYSTEMS.items()}
    numbers |= {name: value for name, value in changes.items() if name in SYSTEMS}
    both = {"residual": [v[0] for v in numbers.values()], "force": [v[1] for v in numbers.values()]}
    named = {"family": ("system", list(SYSTEMS.values()))}
    for key, values in both.items():
        named |= {f"{key}{end}": ("system", values) for end in ("", "_grid", "_exact")}
        named[f"{key}_error"] = ("system", [1e-4] * len(values))
    named |= {key: ("system", [0] * len(SYSTEMS)) for key in ("proportional", "no_force")}
    shape = (len(FAMILIES), 2, 3)
    drawn = {key: np.full(shape, 0.25) for key in ("residual", "force", "commutator", "anisotropy")}
    for key in drawn:
        drawn[key][0] = 0
        drawn[key][2, 0] = [0.1, 0.2, 0.3]
    for family, value in changes.get("random", {}).items():
        for key, number in zip(("residual", "force"), value, strict=True):
            drawn[key][FAMILIES.index(family), 0, 0] = number
    known = {"shuffled_residual": 0.99, "known_residual": 0.3, "known_force": 0.2}
    known |= {"proof": 1, "no_gradient": 1} | changes.get("controls", {})
    dims = ("family", "dimension", "system")
    return {
        "named": xr.Dataset(named, coords={"system": list(SYSTEMS)}),
        "random": xr.Dataset(
            {key: (dims, values) for key, values in drawn.items()},
            coords={"family": FAMILIES, "dimension": [2, 4], "system": [0, 1, 2]},
        ),
        "controls": xr.Dataset({key: ((), value) for key, value in known.items()}),
    }


def decide(**changes) -> dict:
    return CLAIM.judge(measured(**changes))


def agreeing(result: dict) -> list[str]:
    return [arm["name"] for arm in result["arms"] if arm["agrees"]]


def test_reproduced():
    result = decide()
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["caveat"] is None
    assert agreeing(result) == list(CLAIM.entry["arms"])
    assert [a["statistics"][0]["n"] for a in result["arms"]] == [7, 7, 7, 1, 1]
    assert all(c["passed"] for c in result["controls"])


@pytest.mark.parametrize(
    ("changes", "arm"),
    [
        ({"linear_commuting": (0.3, 0.0)}, "commuting"),
        ({"invariant": (0.009, 0.3)}, "exact-cases"),
        ({"random": {"non-commuting": (0.3, 0.0099)}}, "non-commuting"),
    ],
)
def test_one_direction_is_a_caveat_that_names_the_exceptions(changes, arm):
    result = decide(**changes)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert agreeing(result) == [name for name in CLAIM.entry["arms"] if name != arm]
    assert result["caveat"].startswith("only one direction holds: D = cI gives")
    for name in changes:
        assert name == "random" or name in result["caveat"]


def test_the_other_direction_alone():
    result = decide(random={"isotropic": (0.002, 0.0)})
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].startswith("only the second direction holds")
    both = decide(random={"isotropic": (0.002, 0.0)}, linear_commuting=(0.3, 0.0))
    assert both["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_by_an_isotropic_system():
    assert decide(random={"isotropic": (0.011, 0.0)})["verdict"] == Verdict.CONTRADICTED
    assert decide(random={"isotropic": (0.0099, 0.0)})["verdict"] == Verdict.WITH_CAVEAT


@pytest.mark.parametrize("changes", [{"shuffled_residual": 0.0009}, {"known_force": 0.25}])
def test_controls_that_misbehave_decide(changes):
    assert misbehaved(decide(controls=changes))


def test_checks_can_fail():
    result = decide(controls={"proof": 0, "no_gradient": 0})
    held = {check["name"]: check["holds"] for check in result["checks"]}
    assert not held["symbolic proof of the first direction"]
    assert not held["the lemma needs a gradient"]
    assert not held["the commutator decides, not the anisotropy"]  # commuting ones have a force
    assert held["closed form and grid agree"]
    broken = measured()
    broken["named"]["force_grid"] = broken["named"]["force_grid"] + 0.001
    checks = CLAIM.judge(broken)["checks"]
    assert not next(c["holds"] for c in checks if c["name"] == "closed form and grid agree")


def test_charts_are_drawn_from_the_measurement():
    drawn = CLAIM.charts(measured(linear_commuting=(0.3, 0.0)))
    assert "1 of 4 systems" in drawn["named-systems"]["description"]
