"""The verdict on (FP) from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("fokker-planck-evolution")
decide = CLAIM.judge
SYSTEMS, TIMES = list(CLAIM.entry["arms"]), [0.1, 0.2, 0.4]


def made_up(distance=0.8, **changes) -> dict[str, xr.Dataset]:
    """All distances below an envelope of 1; `changes` are {variable: {place: value}}."""
    varying = np.array([name.startswith("varying") for name in SYSTEMS])
    shape = (len(SYSTEMS), len(TIMES))
    wrong = np.where(varying[:, None], 3.0, np.nan) * np.ones(shape)
    values = {"distance": distance, "envelope": 1.0, "envelope_of_all": 1.1}
    values |= {"coarse_distance": 1.2, "step_error": 0.1, "grid_error": 0.1}
    values |= {"stratonovich_distance": wrong}
    bins = np.exp(-(np.linspace(-2, 2, 8) ** 2)) * np.ones((*shape, 8))
    found = xr.Dataset(
        {k: (("system", "time"), v * np.ones(shape)) for k, v in values.items()}
        | {k: (("system", "time", "bin"), bins.copy()) for k in ("sampled", "solved")}
        | {
            "stratonovich": (("system", "time", "bin"), bins * wrong[..., None] / 3),
            "x": (("system", "bin"), np.linspace(-2, 2, 8) * np.ones((len(SYSTEMS), 8))),
        },
        coords={"system": SYSTEMS, "time": TIMES},
        attrs={"paths": 1000, "time_step": 0.01, "coarser": 4},
    )
    control = xr.Dataset(
        {k: ("time", np.full(3, v)) for k, v in (("distance", 0.9), ("envelope", 1.0))}
        | {"solver_distance": ("time", np.full(3, 0.1))},
        coords={"time": TIMES},
    )
    measured = {"ensembles": found, "control": control}
    for name, (part, place, value) in changes.items():
        measured[part][name].values[place] = value
    return measured


def test_reproduced():
    result = decide(made_up())
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["caveat"] is None
    assert all(c["passed"] for c in result["controls"])
    assert all(c["holds"] for c in result["checks"])
    assert result["statistic"]["value"] == pytest.approx(0.8)
    assert result["controls"][1]["statistic"]["value"] == pytest.approx(3)


def test_one_time_outside_fails_a_system_and_the_second_rule_stands_beside_it():
    measured = made_up()
    measured["ensembles"]["distance"].values[2, 1] = 1.05
    result = decide(measured)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "not for varying-line" in result["caveat"]
    assert "23 % of all cases" in result["caveat"]
    assert result["checks"][0]["holds"]
    measured["ensembles"]["distance"].values[2, 1] = 1.5
    far = decide(measured)
    assert "of all cases" not in far["caveat"]
    assert not far["checks"][0]["holds"]


def test_contradicted_where_all_are_outside_at_every_time():
    measured = made_up(1.3)
    assert decide(measured)["verdict"] == Verdict.CONTRADICTED
    measured["ensembles"]["distance"].values[0, 0] = 0.9
    assert decide(measured)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("distance", ("control", 0, 1.1)),
        ("stratonovich_distance", ("ensembles", (4, slice(None)), 0.9)),
    ],
)
def test_controls_that_misbehave_decide(name, change):
    measured = made_up()
    part, place, value = change
    measured[part][name].values[place] = value
    assert misbehaved(decide(measured))


@pytest.mark.parametrize(("name", "check"), [("grid_error", 1), ("step_error", 2)])
def test_errors_of_the_method_are_checked(name, check):
    result = decide(made_up(**{name: ("ensembles", (0, 0), 0.3)}))
    assert not result["checks"][check]["holds"]
    assert result["checks"][3 - check]["holds"]


def test_charts_are_drawn_from_the_measurement():
    assert "reach 3.00 and more" in CLAIM.charts(made_up())["distance"]["description"]
