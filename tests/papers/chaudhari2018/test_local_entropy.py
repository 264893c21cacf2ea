"""The verdict on local entropy from made-up measurements."""

import numpy as np
import pytest
import xarray as xr
from helpers import Theory, misbehaved

from limitcycles.judging.result import Verdict

CLAIM = Theory("local-entropy")
decide = CLAIM.judge
GAMMAS, RATIOS = [0.0, 0.01, 0.1, 1.0], [2.0, 4.0, 8.0]


def made(bare=-0.2, slope=-0.5, exact=-0.5, exponential=0.0, quantile=0.1) -> dict[str, xr.Dataset]:
    """By default all as the paper says: steeper by smoothing, and exponential."""
    shape = (2, len(GAMMAS))
    slopes = np.full(shape, slope)
    slopes[:, 0] = bare
    values = {"power": np.full(shape, 0.1), "exponential": np.full(shape, exponential)}
    values |= {"height_power": np.full(shape, 0.1), "height_exponential": np.full(shape, 0.0)}
    for which, centre in (("", slopes), ("_exact", np.full(shape, exact)), ("_fixed", 0 * slopes)):
        values[f"slope{which}"] = centre.astype(float)
        values[f"slope{which}_low"], values[f"slope{which}_high"] = centre - 0.01, centre + 0.01
    mass = np.broadcast_to(np.array([0.5, 0.25, 0.1]), (*shape, 3)).copy()
    three = dict.fromkeys(("mass", "mass_exact"), mass) | dict.fromkeys(
        ("depth", "depth_exact"), -np.log(mass)
    )
    wells = xr.Dataset(
        {name: (("dimension", "gamma"), v) for name, v in values.items()}
        | {name: (("dimension", "gamma", "ratio"), v) for name, v in three.items()},
        coords={"dimension": [1, 2], "gamma": GAMMAS, "ratio": RATIOS},
        attrs={"level": 0.95},
    )
    names = ("quantile", "coarse_quantile", "wide_quantile", "well_quantile")
    saddle = xr.Dataset(
        {name: ("gamma", np.full(len(GAMMAS), quantile)) for name in names}
        | {"curvature": ("gamma", [-1.0, -1.0, -0.5, 0.3])},
        coords={"gamma": GAMMAS},
    )
    x = np.linspace(-10, 10, 40)
    sections = xr.Dataset(
        {"f": (("gamma", "x"), np.tile(np.abs(np.abs(x) - 6), (len(GAMMAS), 1)))},
        coords={"gamma": GAMMAS, "x": x},
        attrs={"ratio": 16.0},
    )
    return {"wells": wells, "saddle": saddle, "sections": sections}


def test_as_the_paper_says():
    result = decide(made())
    assert result["verdict"] == Verdict.WITH_CAVEAT  # Fig. 4c has no f to smooth
    assert result["caveat"].startswith("at λ ≠ 0")
    assert [a["agrees"] for a in result["arms"]] == [True] * 3
    assert result["arms"][0]["statistics"][0]["name"].endswith("γ = 1")
    assert [s["name"][-8:] for s in result["arms"][0]["statistics"]][-1] == "γ = 0.01"  # not γ = 0
    assert all(c["passed"] for c in result["controls"])
    assert Verdict.REPRODUCED in result["verdict"]


@pytest.mark.parametrize(
    ("change", "said", "check"),
    [
        ({"bare": -0.46}, "does not make the slope", 0),
        ({"exponential": 0.2}, "not exponentially", 1),
    ],
)
def test_the_second_rule_adds_caveats_only(change, said, check):
    result = decide(made(**change))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert said in result["caveat"]
    assert result["checks"][check]["holds"] is False
    assert all(a["agrees"] for a in result["arms"])


def test_one_part_and_none():
    result = decide(made(quantile=0.5))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "one part holds; not saddle" in result["caveat"]
    one = made()
    one["wells"]["slope_high"].values[1, 2] = 0.001  # one dimension, one γ
    assert "not wells-2d" in decide(one)["caveat"]
    one["saddle"]["quantile"].values[3] = 0.6
    assert decide(one)["verdict"] == Verdict.NOT_REPRODUCED


def test_contradicted_needs_the_closed_form():
    rising = made(slope=0.5, exact=0.5)
    rising["wells"]["slope_exact_low"].values[0, 0] = -1  # γ = 0 does not count
    result = decide(rising)
    # the closed form is the positive control too, and then it does not pass
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert "the controls did not behave" in result["caveat"]
    assert CLAIM.outcome(rising).verdict == Verdict.CONTRADICTED
    outcome = CLAIM.outcome(made(slope=0.5, exact=-0.5))
    assert outcome.verdict == Verdict.NOT_REPRODUCED
    assert "does not confirm" in "; ".join(outcome.caveats)


@pytest.mark.parametrize(
    ("name", "value"), [("slope_exact_high", 0.1), ("slope", -0.4), ("slope_fixed_high", -0.1)]
)
def test_controls_that_misbehave_decide(name, value):
    measured = made()
    measured["wells"][name].values[0, 1] = value
    assert misbehaved(decide(measured))


def test_charts_are_drawn_from_the_measurement():
    CLAIM.charts(made())
