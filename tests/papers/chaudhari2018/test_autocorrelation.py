"""The verdict on Fig. 3b from made-up measurements."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from drawing import drawn
from helpers import along, claims, context

from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.autocorrelation import rule as claim
from limitcycles.papers.chaudhari2018.autocorrelation.envelopes import QUANTILES

NAME = "autocorrelation"
ENTRY = claims()[NAME]
COUNT, NULLS, LAG = 200, ["random-walk", "ornstein-uhlenbeck", "epoch-noise"], np.arange(100) * 20


def first(percent: float, *, start: float = 0.0) -> np.ndarray:
    """Reach of the weights: outside for `percent` of them from `start` percent on."""
    share = 100 * np.arange(COUNT) / COUNT
    return np.where((share >= start) & (share < start + percent), 1.5, 0.5)


def analysis(walk, relaxing, *, sums=None, bands=100.0, ratio=100.0, halves=100.0):
    """One seed of one trajectory; arrays of reach for the two nulls, shares in percent."""
    reach = np.stack([walk, relaxing, relaxing])
    sums = reach if sums is None else np.stack(sums)
    rng = np.random.default_rng(0)
    attrs = {"epochs": 2000, "still": 3, "level": 0.99, "band": 0.06, "walk_doubt": [0.98, 1.02]}
    weights = xr.Dataset(
        {
            "reach": (("null", "weight"), reach),
            "sum_reach": (("null", "weight"), sums),
            "leaves_band": ("weight", first(bands) > 1),
            "outside": ("weight", np.full(COUNT, bands)),
            "relaxation": (("null", "weight"), np.full((3, COUNT), 50.0)),
            "same_halves": ("weight", first(halves) > 1),
            "variance_ratio_z": ("weight", 8 * first(ratio) - 4),
        },
        coords={"null": NULLS, "weight": np.arange(COUNT)},
        attrs=attrs,
    )
    examples = np.arange(6) * 39
    r = np.exp(-LAG / 300)
    lags = xr.Dataset(
        {
            "r_quantile": (("quantile", "lag"), np.linspace(0.5, 1.5, 7)[:, None] * r),
            "walk_low": ("lag", r - 0.5),
            "walk_high": ("lag", r + 0.5),
            "example_r": (("example", "lag"), rng.normal(0, 0.1, (6, 100)) + r),
            "example_low": (("null", "example", "lag"), np.full((3, 6, 100), -0.3)),
            "example_high": (("null", "example", "lag"), np.full((3, 6, 100), 0.3)),
            "example_weight": ("example", examples),
        },
        coords={"lag": LAG, "quantile": list(QUANTILES), "null": NULLS},
        attrs=attrs | {"seed": 0},
    )
    return {"weights": weights, "lags": lags}


def evidence(text, code, **others) -> dict:
    """Analyses by trajectory: of the deciding arms (None: not run) and of others by arm."""
    by_arm = {"text": text, "code": code} | others
    return {ENTRY["arms"][n]["trajectory"]: list(of) for n, of in by_arm.items() if of}


def decide(*args, **others) -> dict:
    return judge(NAME, ENTRY, along(ENTRY, evidence(*args, **others)), context())


def two(*args, **options):
    """Two seeds."""
    return [analysis(*args, **options)] * 2


LEAVING = two(first(60), first(70))
WITHIN = two(first(4), first(10), ratio=0)


def test_reproduced():
    result = decide(LEAVING, LEAVING)
    assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)
    assert [c["passed"] for c in result["controls"]] == [True, True]
    assert all(c["holds"] for c in result["checks"])
    main = result["statistic"]
    assert (main["name"], main["value"], main["n"]) == (claim.BOTH, 60, 2)
    assert main["interval"] == [60, 60]


def test_the_same_weights_must_leave_both():
    apart = two(first(55), first(55, start=45))  # 10 % leave both
    result = decide(apart, apart)
    assert result["statistic"]["value"] == pytest.approx(10)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "other weights leave the one envelope" in result["caveat"]


def test_half_of_the_weights_over_all_seeds_is_enough():
    assert (
        decide([analysis(first(40), first(90)), analysis(first(60), first(90))], LEAVING)["verdict"]
        == Verdict.REPRODUCED
    )
    short = [analysis(first(39), first(90)), analysis(first(60), first(90))]
    result = decide(short, LEAVING)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "holds for code; not for text" in result["caveat"]
    assert [a["agrees"] for a in result["arms"]] == [False, True]


@pytest.mark.parametrize(
    ("walk", "relaxing", "words"),
    [
        (60, 20, "one envelope only"),
        (20, 60, "one envelope only"),
        (6, 20, "only the white-noise bands"),
    ],
)
def test_one_envelope_or_the_bands_are_a_caveat(walk, relaxing, words):
    part = two(first(walk), first(relaxing))
    result = decide(part, WITHIN)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert words in result["caveat"]
    assert "code" not in result["caveat"]


def test_contradicted_needs_both_arms():
    result = decide(WITHIN, WITHIN)
    assert result["verdict"] == Verdict.CONTRADICTED
    assert result["caveat"] is None
    assert result["checks"][2]["holds"]
    assert result["checks"][1]["holds"]
    edge = two(first(5), first(10), ratio=0)
    assert decide(edge, WITHIN)["verdict"] == Verdict.CONTRADICTED
    over = two(first(5.5), first(10), bands=0)
    assert decide(over, WITHIN)["verdict"] == Verdict.NOT_REPRODUCED
    alone = decide(WITHIN, None)
    assert alone["verdict"] == Verdict.NOT_REPRODUCED
    assert alone["caveat"] == "the arm code is not run at this scale: undecided"


def test_contradicted_with_a_second_look_that_disagrees():
    result = decide(two(first(4), first(10)), WITHIN)
    assert result["verdict"] == Verdict.CONTRADICTED
    assert "variance ratio" in result["caveat"]
    assert not result["checks"][2]["holds"]


def test_an_arm_that_is_not_run_is_undecided():
    result = decide(None, LEAVING)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "the arm text is not run at this scale: undecided" in result["caveat"]
    nothing = decide(None, None, four_digits=None, gaussian=LEAVING)
    assert nothing["verdict"] == Verdict.NOT_TESTED
    assert nothing["reason"].startswith("none of the arms that decide")


def test_other_arms_are_shown_and_decide_nothing():
    result = decide(LEAVING, LEAVING, gaussian=WITHIN)
    assert result["verdict"] == Verdict.REPRODUCED
    assert [(a["name"], a["agrees"]) for a in result["arms"]] == [
        ("text", True),
        ("code", True),
        ("gaussian", None),
    ]


def test_the_second_rule_can_only_add_a_caveat():
    other = two(first(60), first(70), sums=[first(4), first(10), first(10)])
    result = decide(other, other)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == f"by the sum of |r| (second rule): {Verdict.CONTRADICTED}"
    good = two(first(6), first(8), bands=0, sums=[first(90)] * 3)
    assert decide(good, good)["verdict"] == Verdict.NOT_REPRODUCED


def test_the_paper_statistic_stands_beside_the_calibrated_one():
    result = decide(WITHIN, WITHIN)
    check = result["checks"][0]
    assert check["holds"]
    assert "text: 100 %; code: 100 % of the weights, and 100 % of random walks" in check["detail"]
    names = [s["name"] for s in result["arms"][0]["statistics"]]
    assert {claim.BOTH, claim.BEYOND, *claim.OUTSIDE.values()} <= set(names)


def test_a_verdict_that_hangs_on_the_number_of_simulations_is_shown():
    near = np.where(first(8) > 1, 1.01, first(4))  # 1.02 is within what simulations leave open
    result = decide(two(near, first(10)), two(near, first(10)))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    check = next(c for c in result["checks"] if c["name"] == "simulations are enough")
    assert not check["holds"]
    assert f"{Verdict.WITH_CAVEAT} and {Verdict.CONTRADICTED}" in check["detail"]


@pytest.mark.parametrize("broken", [0, 1])
def test_controls_that_misbehave_decide(monkeypatch, broken):
    series = list(claim._synthetic(0.99))
    series[broken] = series[1 - broken]
    monkeypatch.setattr(claim, "_synthetic", lambda level: tuple(series))
    result = decide(LEAVING, LEAVING)
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert [c["passed"] for c in result["controls"]] == [broken == 1, broken == 0]


def test_charts_are_drawn_from_the_analyses():
    arms = evidence(LEAVING, WITHIN, gaussian=WITHIN)
    result = judge(NAME, ENTRY, along(ENTRY, arms), context())
    paper, shares, examples = drawn(result, along(ENTRY, arms)).values()
    assert all(len(json.dumps(one.spec)) < 120_000 for one in (paper, shares, examples))
    assert '{"datum": 50.0}' in json.dumps(shares.spec)
    assert '{"datum": 5.0}' in json.dumps(shares.spec)
    assert "text 100 % and 60.0 %" in shares.caption
    assert "gaussian" not in shares.caption
    assert "3 of these 6 weights lie outside" in examples.caption
    assert "text 100 % of the lags" in paper.caption
    assert "paper: 100 % of the lags outside the white-noise bands" in paper.svg
    assert "calibrated: 60.0 % of the weights outside both fitted nulls" in paper.svg


def test_the_shares_of_many_arms_stay_legible():
    arms = evidence(LEAVING, WITHIN)
    result = judge(NAME, ENTRY, along(ENTRY, arms), context())
    result["arms"] += [result["arms"][1] | {"name": f"arm{i}"} for i in range(37)]
    shares = drawn(result, along(ENTRY, arms))["autocorrelation-nulls"]
    assert float(re.search(r'height="([\d.]+)"', shares.svg)[1]) < 1800
