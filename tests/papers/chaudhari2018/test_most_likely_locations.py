"""The verdict on Theorem 22 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory

from limitcycles.judging.result import Verdict

CLAIM = Theory("most-likely-locations")
STILL = ("rotation-constant", "commuting", "control")
DRAWN = ("example-19", "example-19-strong", "constant-tensor", "varying-tensor")


def measured(**changes) -> dict[str, xr.Dataset]:
    """As the theorem says; `changes` are {system: {variable: value}}, for its first mode."""
    names = [*CLAIM.entry["arms"], "control"]
    n = len(names)
    shift = np.array([[0.001 if name in STILL else 0.3] * 2 + [np.nan] for name in names])
    found = {
        "distance": shift.copy(),
        "predicted_distance": shift.copy(),
        "spacings": 40 * shift,
        "predicted_spacings": 40 * shift,
    }
    variables = {key: (("system", "which"), values) for key, values in found.items()}
    for key in ("mode", "predicted", "small_noise"):
        places = np.full((n, 3, 2), np.nan)
        places[:, :2] = [[-1, 0], [1, 0]]
        variables[key] = (("system", "which", "axis"), places)
    critical = np.full((n, 9, 2), np.nan)
    critical[:, 0] = [0.9, 0.3]
    variables["critical"] = (("system", "point", "axis"), critical)
    for key, value in {"residual": 0.001, "force": 0.5, "known": 1, "gradient": 1}.items():
        variables[key] = ("system", np.full(n, float(value)))
    systems = xr.Dataset(variables, coords={"system": names})
    for name, values in changes.items():
        for key, value in values.items():
            row = systems[key].values[names.index(name), ...]
            if row.ndim:
                row[0] = value
            else:
                systems[key].values[names.index(name)] = value
    side = np.linspace(-2, 2, 5)
    density = np.exp(-(side[:, None] ** 2) - side**2)
    maps = xr.Dataset(
        {
            "density": (("drawn", "i", "k"), np.stack([density] * 4)),
            "x": (("drawn", "i"), np.stack([side] * 4)),
            "y": (("drawn", "k"), np.stack([side] * 4)),
        },
        coords={"drawn": list(DRAWN)},
    )
    return {"systems": systems, "maps": maps}


def decide(found=None, **changes) -> dict:
    return CLAIM.judge(found or measured(**changes))


def test_reproduced():
    result = decide()
    assert result["verdict"] == Verdict.REPRODUCED
    assert all(arm["agrees"] for arm in result["arms"])
    assert result["statistic"]["value"] == pytest.approx(12)
    assert all(c["passed"] for c in result["controls"])


@pytest.mark.parametrize(
    "change",
    [
        {"residual": 0.011},
        {"spacings": 9.9},
        {"distance": 0.331},
        {"distance": 0.269},
    ],
)
def test_one_system_that_fails_is_a_caveat(change):
    result = decide(**{"varying-tensor": change})
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].endswith("not for varying-tensor")


def test_systems_that_should_not_shift_need_the_residual_only():
    result = decide(**{"commuting": {"spacings": 5.0}})
    assert result["verdict"] == Verdict.REPRODUCED
    check = next(c for c in result["checks"] if c["name"].startswith("no shift"))
    assert not check["holds"]
    assert decide(commuting={"residual": 0.02})["verdict"] == Verdict.WITH_CAVEAT


def test_not_reproduced_where_no_system_passes():
    found = measured()
    found["systems"]["residual"][:] = 0.02
    assert decide(found)["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_where_nothing_moves():
    found = measured()
    found["systems"]["spacings"] = found["systems"]["spacings"] / 20
    result = CLAIM.judge(found)
    # The positive control does not pass either: a broken instrument.
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert "controls did not behave" in result["caveat"]
    assert CLAIM.outcome(found).verdict == Verdict.CONTRADICTED


@pytest.mark.parametrize("name", ["example-19", "control"])
def test_controls_that_misbehave_decide(name):
    change = {"distance": 0.4} if name == "example-19" else {"spacings": 1.1}
    result = decide(**{name: change})
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert "the controls did not behave" in result["caveat"]


def test_checks_can_fail():
    assert all(check["holds"] for check in decide()["checks"])
    found = measured(**{"varying-tensor": {"residual": 0.02}, "commuting": {"spacings": 2}})
    found["systems"]["small_noise"][:] = 5
    found["systems"]["force"][:] = 0
    assert not any(check["holds"] for check in decide(found)["checks"])


def test_charts_are_drawn_from_the_measurement():
    drawn = CLAIM.charts(measured())
    assert "8 of 10 systems" in drawn["distance-and-prediction"]["description"]
