"""The verdict on Corollary 8 from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("jko-flow")
decide = CLAIM.judge
ARMS, STEPS = list(CLAIM.entry["arms"]), np.array([0.16, 0.08, 0.04, 0.02])
BEND = 1 + 0.02 * np.array([1.0, -1.0, -1.0, 1.0])  # a slope without residuals has no width


def made_up(size=0.2, power=1.0) -> dict[str, xr.Dataset]:
    """Distances size · step^power; the control stays away; the plane lacks the last step."""
    right = size * STEPS**power * BEND
    errors = np.stack([np.stack([right / 2, right], axis=-1)] * len(ARMS))
    errors[-1] /= 5  # the plane has no shorter steps
    errors[-1, -1] = np.nan
    coords = {"step": STEPS, "time": [0.1, 0.2]}
    doubled = np.where(np.isnan(errors), np.nan, 0.3)
    attrs = {"entropic": 0.6, "compared_step": STEPS[0], "temperature": 0.5}
    flows = xr.Dataset(
        {
            "distance": (("arm", "step", "time"), errors),
            "doubled": (("arm", "step", "time"), doubled),
            "grid_change": ("arm", np.full(3, 1e-4)),
            "entropic_change": ("arm", [np.nan, np.nan, 1e-4]),
        },
        coords={"arm": ARMS} | coords,
        attrs=attrs,
    )
    plain = 0.2 * STEPS * BEND
    free = {"distance": np.stack([plain, plain], -1), "doubled": np.full((4, 2), 0.3)}
    return {
        "flows": flows,
        "free": xr.Dataset({k: (("step", "time"), v) for k, v in free.items()}, coords, attrs),
    }


def test_reproduced():
    result = decide(made_up())
    assert result["verdict"] == Verdict.REPRODUCED
    assert all(c["passed"] for c in result["controls"])
    assert result["checks"][0]["holds"]
    slope, distance = result["arms"][0]["statistics"]
    assert slope["value"] == pytest.approx(1, abs=0.02)
    assert slope["n"] == 4
    assert distance["value"] == pytest.approx(0.2 * 0.02 * 1.02)
    assert result["arms"][2]["statistics"][0]["n"] == 3


def test_a_distance_that_ends_too_large():
    measured = made_up()
    measured["flows"]["distance"].values[0] *= 3
    result = decide(measured)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "holds for line-wells, plane-wells; not for line-quadratic"


def test_a_slope_whose_interval_reaches_down():
    measured = made_up(size=0.02, power=0.52)
    result = decide(measured)
    assert [a["agrees"] for a in result["arms"]] == [False] * 3
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert max(measured["flows"]["distance"].sel(step=0.02).values[0]) < 0.01


def test_contradicted_where_there_is_no_slope():
    measured = made_up(power=0.0)
    flat = np.full((3, 2), 0.2) * np.array([1.001, 1, 1.0005])[:, None]
    measured["flows"]["distance"].values[-1, :3] = flat
    assert decide(measured)["verdict"] == Verdict.CONTRADICTED
    measured["flows"]["distance"].values[0] = made_up()["flows"]["distance"].values[0] * 10
    assert decide(measured)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("part", ["free", "doubled"])
def test_controls_that_misbehave_decide(part):
    measured = made_up()
    if part == "free":
        measured["free"]["distance"].values[-1] = 0.02
    else:
        measured["flows"]["doubled"].values[1] = measured["flows"]["distance"].values[1]
    assert misbehaved(decide(measured))


def test_a_grid_that_matters_is_shown():
    measured = made_up()
    measured["flows"]["grid_change"].values[0] = 0.01
    assert not decide(measured)["checks"][0]["holds"]


def test_charts_are_drawn_from_the_measurement():
    CLAIM.charts(made_up())
