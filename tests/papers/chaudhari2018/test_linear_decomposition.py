"""The verdict on Lemma 20 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("linear-decomposition")
DIMENSIONS, SYSTEMS = (2, 4, 8), 4


def systems(half=0.02, **changes) -> xr.Dataset:
    """All as the lemma says; `changes` are {name: {dimension: value}}, for the first system."""
    shape = (len(DIMENSIONS), SYSTEMS, max(DIMENSIONS))
    there = np.arange(8) < np.array(DIMENSIONS)[:, None, None]
    ratio = np.where(there, np.linspace(0.99, 1.01, 8), np.nan) * np.ones(shape)
    several = {"ratio": ratio, "low": ratio - half, "high": ratio + half}
    several |= {f"hessian_{name}": 1.5 * values for name, values in several.items()}
    single = dict.fromkeys(("residual", "antisymmetry", "planted_error"), 1e-14)
    found = xr.Dataset(
        {name: (("dimension", "system", "direction"), values) for name, values in several.items()}
        | {
            name: (("dimension", "system"), np.full(shape[:2], value))
            for name, value in (single | {"commutator": 0.3}).items()
        },
        coords={"dimension": list(DIMENSIONS), "system": np.arange(SYSTEMS)},
        attrs={"paths": 1000, "level": 0.95},
    )
    for name, values in changes.items():
        for dimension, value in values.items():
            place = (DIMENSIONS.index(dimension), 0, 0)
            found[name].values[place[: found[name].ndim]] = value
    return found


def decide(found: xr.Dataset) -> dict:
    return CLAIM.judge({"systems": found})


def test_reproduced():
    result = decide(systems())
    assert result["verdict"] == Verdict.REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [True] * 3
    assert [a["statistics"][0]["n"] for a in result["arms"]] == [8, 16, 32]
    assert result["statistic"]["value"] == pytest.approx(0.99 + 0.01 / 7, abs=1e-6)
    assert all(c["passed"] for c in result["controls"])
    assert [a["run"] for a in result["arms"]] == [None] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"residual": {4: 1.1e-8}},
        {"antisymmetry": {4: 1.1e-8}},
        {"low": {4: 1.001}},
        {"high": {4: 0.999}},
        {"high": {4: 1.2}},
    ],
)
def test_one_system_that_fails_fails_its_arm(changes):
    result = decide(systems(**changes))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "holds for d2, d8; not for d4"


def test_wide_intervals_say_nothing():
    assert decide(systems(half=0.06))["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_where_every_system_misses():
    found = systems()
    for name in ("ratio", "low", "high"):
        found[name] = found[name] + 0.2
    assert decide(found)["verdict"] == Verdict.CONTRADICTED
    found["low"].values[0, 0] = 1.0
    assert decide(found)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("name", ["planted_error", "hessian"])
def test_controls_that_misbehave_decide(name):
    found = systems(planted_error={2: 1e-3}) if name == "planted_error" else systems()
    if name == "hessian":
        for part in ("ratio", "low", "high"):
            found[f"hessian_{part}"] = found[part].copy()
    assert misbehaved(decide(found))


def test_charts_are_drawn_from_the_study():
    CLAIM.charts({"systems": systems()})
