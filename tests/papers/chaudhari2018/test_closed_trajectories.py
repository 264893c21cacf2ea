"""The verdict on Lemma 7 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("closed-trajectories")
decide = CLAIM.judge
DIMENSION = dict(zip(CLAIM.entry["arms"], (2, 2, 2, 2, 3, 3, 3, 4, 4), strict=True))
OTHERS = {"two-rotations-3-2": 4, "pure-rotation": 2, "slow-spiral": 2}
SYSTEMS = [*DIMENSION, *OTHERS]
CLOSED, NEAR, FAR = 1e-10, 5e-4, 1e-2
STARTS = 20


def paths(**changes) -> dict[str, xr.Dataset]:
    """All close but the spiral; `changes` are {system: (strict, loose, second, how many)}."""
    values = {name: np.full((len(SYSTEMS), STARTS), CLOSED) for name in ("strict", "loose")}
    values["second"] = np.full((len(SYSTEMS), STARTS), np.nan)
    for name in ("torus-flow", "two-rotations", "coupled-oscillators"):
        values["second"][SYSTEMS.index(name)] = CLOSED
    changes = {"slow-spiral": (FAR, FAR, np.nan, STARTS)} | {
        name.replace("_", "-"): change for name, change in changes.items()
    }
    for name, (*three, many) in changes.items():
        for which, value in zip(("strict", "loose", "second"), three, strict=True):
            values[which][SYSTEMS.index(name), :many] = value
    frame = xr.Dataset(
        {name: (("system", "start"), v) for name, v in values.items()}
        | {
            "dimension": ("system", [*DIMENSION.values(), *OTHERS.values()]),
            "meets": ("system", [int(name != "example-19") for name in SYSTEMS]),
        },
        coords={"system": SYSTEMS},
        attrs={"winding": [0.3, 0.4], "time": 100.0},
    )
    shown = ["sphere-flow", "torus-flow"]
    returns = xr.Dataset(
        {
            "time": (("system", "turn"), [[6.0, 12.0], [5.0, np.nan]]),
            "relative": (("system", "turn"), [[1e-15, 1e-11], [1e-2, np.nan]]),
        },
        coords={"system": shown},
        attrs={"time": 300.0},
    )
    orbits = xr.Dataset(
        {f"x{k}": (("system", "step"), np.arange(6.0).reshape(2, 3)) for k in (1, 2, 3)},
        coords={"system": shown},
        attrs={"times": [20.0, 90.0]},
    )
    return {"trajectories": frame, "returns": returns, "orbits": orbits}


def test_reproduced():
    result = decide(paths())
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["statistic"]["value"] == 100
    assert result["statistic"]["interval"][0] == pytest.approx(100 * 0.025 ** (1 / STARTS))
    assert result["checks"][0]["holds"]
    assert all(c["passed"] for c in result["controls"])


def test_one_of_twenty_may_stay_open():
    assert decide(paths(torus_flow=(FAR, FAR, FAR, 1)))["verdict"] == Verdict.REPRODUCED
    result = decide(paths(torus_flow=(FAR, FAR, FAR, 2)))
    assert result["verdict"] == Verdict.WITH_CAVEAT  # two dimensions close
    assert not result["arms"][6]["agrees"]
    assert decide(paths(rotating_wells=(FAR, FAR, np.nan, 2)))["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_by_two_methods():
    result = decide(paths(torus_flow=(FAR, FAR, FAR, STARTS)))
    assert result["verdict"] == Verdict.CONTRADICTED
    assert "not on torus-flow" in result["caveat"]
    assert "two dimensions" in result["caveat"]
    assert decide(paths(torus_flow=(FAR, FAR, FAR, STARTS - 1)))["verdict"] == Verdict.CONTRADICTED
    assert decide(paths(torus_flow=(FAR, FAR, FAR, STARTS - 2)))["verdict"] == Verdict.WITH_CAVEAT


@pytest.mark.parametrize("second", [CLOSED, np.nan])
def test_not_contradicted_where_the_second_method_does_not_say_so(second):
    result = decide(paths(torus_flow=(FAR, FAR, second, STARTS)))
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert "does not confirm" in result["caveat"]


def test_a_system_outside_the_assumptions_contradicts_nothing():
    assert decide(paths(example_19=(FAR, FAR, np.nan, STARTS)))["verdict"] == Verdict.NOT_REPRODUCED


def test_the_strict_rule_decides_and_the_first_is_shown():
    result = decide(paths(two_rotations=(NEAR, NEAR, NEAR, STARTS)))
    assert result["verdict"] == Verdict.CONTRADICTED
    strict, loose = result["arms"][7]["statistics"][:2]
    assert (strict["value"], loose["value"]) == (0, 100)
    first = result["checks"][0]
    assert first["holds"]
    assert "“reproduced”" in first["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"pure_rotation": (FAR, FAR, np.nan, STARTS)},
        {"pure_rotation": (NEAR, NEAR, np.nan, STARTS)},
        {"slow_spiral": (NEAR, NEAR, np.nan, STARTS)},
        {"slow_spiral": (CLOSED, CLOSED, np.nan, 2)},
    ],
)
def test_controls_that_misbehave_decide(change):
    assert misbehaved(decide(paths(**change)))


def test_charts_are_drawn_from_the_measurement():
    drawn = CLAIM.charts(paths(torus_flow=(FAR, FAR, FAR, STARTS)))
    assert "torus-flow 0 % and 0 %" in drawn["share-closed"]["description"]
