"""The verdict on the spectrum of increments from made-up measurements."""

from functools import cache

import numpy as np
import pytest
import xarray as xr
from drawing import drawn
from helpers import along, claims, context, misbehaved

from limitcycles.charts import data, drawing
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.increment_spectrum import measure as increments
from limitcycles.papers.chaudhari2018.increment_spectrum import rule as claim

NAME = "increment-spectrum"
ENTRY = claims()[NAME]
ARMS = {name: spec["trajectory"] for name, spec in ENTRY["arms"].items()}
WEIGHTS, STILL = 210, 10
ABOVE, INSIDE, BELOW = 2.0, 0.0, -2.0  # envelopes are −1 to 1
HOLDS, WALK, NOT = (ABOVE, ABOVE), (INSIDE, INSIDE), (BELOW, BELOW)


REAL = cache(lambda: claim._controls(ENTRY["rule_parameters"]))


@pytest.fixture(autouse=True)
def controls_once(monkeypatch, request):
    """The controls take a second: only tests named after them compute them anew."""
    if "controls" not in request.node.name:
        known = REAL()
        monkeypatch.setattr(claim, "_controls", lambda parameters: known)


def made_up(ratio=HOLDS, *, share=1.0, seed=0, explained=None, welch=None, moving=True):
    """One analysis: `share` of the weights have that ratio (low, high), the others lie below.

    `explained` is a null whose envelope holds everything.
    """
    rng = np.random.default_rng(seed)
    count = WEIGHTS - STILL if moving else 0
    look = np.stack([np.array(ratio), np.array(ratio if welch is None else welch)])
    values = np.full((WEIGHTS, 2, 2), np.nan)
    values[:count] = look + 0.1 * rng.uniform(-1, 1, (count, 2, 2))
    values[round(share * count) : count] = BELOW
    ends = np.ones((3, WEIGHTS, 2, 2))
    ends[:, count:] = np.nan
    low, high = -ends, ends.copy()
    if explained is not None:
        low[increments.NULLS.index(explained)] *= 3
        high[increments.NULLS.index(explained)] *= 3
    dims = ("weight", "look", "end")
    attrs = {"level": 0.95, "low_percent": 2.0, "high_percent": 10.0}
    weights = xr.Dataset(
        {
            "moving": ("weight", np.arange(WEIGHTS) < count),
            "ratio": (dims, values),
            "envelope_low": (("null", *dims), low),
            "envelope_high": (("null", *dims), high),
            "stationary": ("weight", np.arange(WEIGHTS) < 0.6 * count),
        },
        coords={
            "look": ["periodogram", "welch"],
            "end": ["low", "high"],
            "null": list(increments.NULLS),
        },
    )
    parts = {"weights": weights, "amplitudes": xr.Dataset(), "multitaper": xr.Dataset()}
    if moving:
        parts |= spectra()
    return {k: part.assign_attrs(attrs) for k, part in parts.items()}


def spectra() -> dict[str, xr.Dataset]:
    j = np.arange(1000)
    mean = 1 + np.where(j == 1, 2.0, 0) + np.where(j >= 901, 0.5, 0)
    amplitudes = xr.Dataset(
        {k: ("frequency", mean * f) for k, f in (("mean", 1), ("low", 0.9), ("high", 1.1))}
        | {"walk": 1.0},
        coords={"frequency": j / 99_000},
    )
    frequency = np.geomspace(3e-5, 0.5, 120)
    flat = np.full(120, 2.0)
    spectrum = xr.Dataset(
        {"relative_mean": ("frequency", flat)}
        | {"relative_quantile": (("quantile", "frequency"), np.outer(np.linspace(0.5, 2, 5), flat))}
        | {"null_mean": (("null", "frequency"), np.stack([flat] * 3))},
        coords={
            "frequency": frequency,
            "quantile": list(increments.QUANTILES),
            "null": list(increments.NULLS),
        },
    )
    return {"amplitudes": amplitudes, "multitaper": spectrum}


def evidence(text=HOLDS, code=HOLDS, others=(), seeds=2, **options):
    """Analyses by trajectory; an arm given as None is not run, one as a list is taken as it is."""
    found = {}
    for name, ratio in {"text": text, "code": code, **dict(others)}.items():
        if ratio is not None:
            found[ARMS[name]] = (
                ratio
                if isinstance(ratio, list)
                else [made_up(ratio, seed=seed, **options) for seed in range(seeds)]
            )
    return found


def decide(analyses: dict) -> dict:
    return judge(NAME, ENTRY, along(ENTRY, analyses), context())


def test_reproduced_where_both_arms_agree():
    result = decide(evidence(others={"few-plain": NOT}))
    assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)
    assert [(a["name"], a["agrees"]) for a in result["arms"]] == [
        ("text", True), ("code", True), ("few-plain", None)
    ]  # fmt: skip
    assert result["statistic"]["name"] == claim.MAIN
    assert result["statistic"]["value"] == 100
    assert result["statistic"]["n"] == 2


@pytest.mark.parametrize(("share", "agrees"), [(0.96, True), (0.95, True), (0.94, False)])
def test_the_share_of_the_weights_that_move_decides(share, agrees):
    result = decide(evidence(share=share))
    assert [a["agrees"] for a in result["arms"]] == [agrees, agrees]
    shown = {s["name"]: s["value"] for s in result["arms"][0]["statistics"]}
    count = WEIGHTS - STILL
    assert shown[claim.MAIN] == pytest.approx(100 * round(share * count) / count)
    assert shown["weights that move"] == pytest.approx(100 * 200 / 210)
    assert shown["weights above epoch noise, high"] == shown["weights above all nulls, high"]


def test_seeds_are_counted_together():
    # 100 % and 92 % of the weights: 96 % over both.
    seeds = [made_up(share=1.0), made_up(share=0.92)]
    result = decide(evidence(text=seeds))
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["arms"][0]["statistics"][0]["value"] == pytest.approx(96, abs=0.3)


@pytest.mark.parametrize("missing", ["text", "code"])
def test_one_arm_gives_a_caveat_that_names_it(missing):
    other = {"text": "code", "code": "text"}[missing]
    result = decide(evidence(**{missing: NOT}))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert f"{other}: it holds" in result["caveat"]
    assert f"{missing}: it does not hold" in result["caveat"]


@pytest.mark.parametrize(("ratio", "end"), [((ABOVE, BELOW), "low"), ((INSIDE, ABOVE), "high")])
def test_one_ratio_gives_a_caveat(ratio, end):
    result = decide(evidence(text=ratio, code=NOT))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].startswith(
        f"text: only the ratio of {end} frequencies holds; code: it does not"
    )
    assert result["arms"][0]["agrees"] is False


@pytest.mark.parametrize("null", increments.NULLS)
def test_a_null_that_explains_it_gives_a_caveat(null):
    result = decide(evidence(explained=null))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    words = f"{null.replace('-', ' ')} explains it"
    assert result["caveat"] == f"text: {words}; code: {words}"


def test_a_null_explains_only_what_lies_above_both_others():
    result = decide(evidence(text=(ABOVE, BELOW), code=(ABOVE, BELOW), explained="epoch-noise"))
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert result["caveat"] is None


def test_contradicted_where_both_arms_are_walks():
    assert decide(evidence(text=WALK, code=WALK))["verdict"] == Verdict.CONTRADICTED
    assert decide(evidence(text=WALK, code=NOT))["verdict"] == Verdict.NOT_REPRODUCED
    assert decide(evidence(text=WALK, code=WALK, share=0.94))["verdict"] == Verdict.NOT_REPRODUCED
    assert decide(evidence(text=(INSIDE, BELOW), code=WALK))["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("ratio", [HOLDS, WALK, NOT])
def test_an_arm_that_is_not_run_is_undecided(ratio):
    result = decide(evidence(text=None, code=ratio))
    assert result["verdict"] == (Verdict.WITH_CAVEAT if ratio == HOLDS else Verdict.NOT_REPRODUCED)
    assert "text: undecided" in result["caveat"]
    assert [a["name"] for a in result["arms"]] == ["code"]


def test_arms_in_which_nothing_moves():
    result = decide(evidence(text=HOLDS, code=[made_up(moving=False)]))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert "code: undecided" in result["caveat"]
    assert result["arms"][1]["agrees"] is None
    nothing = evidence(text=[made_up(moving=False)], code=[made_up(moving=False)])
    result = decide(nothing)
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    for chart in drawing.draw(result, along(ENTRY, nothing)).values():
        assert chart.to_dict()["title"]


def test_the_second_look_is_told():
    same = decide(evidence())["checks"][0]
    other = decide(evidence(welch=NOT))
    assert same["holds"]
    assert not other["checks"][0]["holds"]
    assert other["verdict"] == Verdict.REPRODUCED  # the rule is on the periodogram
    assert "not reproduced" in other["checks"][0]["detail"]


def test_what_the_paper_would_have_seen_stands_beside():
    check = decide(evidence(text=NOT, code=NOT))["checks"][1]
    assert check["holds"]
    assert "text: the first frequency 3.00 times the middle" in check["detail"]
    assert "its highest 10 % 1.50 times" in check["detail"]
    flat = evidence()
    for seeds in flat.values():
        for seed in seeds:
            seed["amplitudes"]["mean"].values[:] = 1
    assert not decide(flat)["checks"][1]["holds"]


def test_the_gate_is_told():
    gate = decide(evidence())["checks"][2]
    assert not gate["holds"]
    assert "text 60.0 %" in gate["detail"]


def test_controls_behave_and_are_computed():
    controls = decide(evidence())["controls"]
    assert [c["kind"] for c in controls] == ["positive", "negative"]
    assert [c["statistic"]["value"] for c in controls] == [100, pytest.approx(5, abs=10)]


@pytest.mark.parametrize(("name", "other"), [("planted", "walks"), ("walks", "planted")])
def test_controls_that_misbehave_decide(monkeypatch, name, other):
    monkeypatch.setattr(claim, name, getattr(claim, other))
    result = decide(evidence())
    assert misbehaved(result)


def test_charts_are_drawn_from_the_analyses():
    found = evidence(text=NOT, others={"few-plain": (ABOVE, BELOW)})
    paper, full, ratios = drawn(decide(found), along(ENTRY, found)).values()
    large, small = full.spec["vconcat"]
    assert len(large["concat"]) == 2
    assert small["facet"]["field"] == "arm"
    assert "3.00 (text)" in paper.caption
    assert "paper: the first frequency has 3.00 times the middle" in paper.svg
    assert "calibrated: 100 % (low) and 100 % (high) of weights above all nulls" in paper.svg
    assert "100 % (low) and 100 % (high) in code" in ratios.caption
    assert "few-plain" not in ratios.caption


def test_an_arm_without_a_density_is_left_out():
    found = evidence(others={"full-batch": (ABOVE, ABOVE), "few-plain": (ABOVE, BELOW)})
    result = decide(found)
    found["few-full-batch"][0]["multitaper"]["relative_mean"].values[:] = np.nan
    assert "without full-batch" in drawn(result, along(ENTRY, found))["spectrum-full"].svg


@pytest.mark.parametrize("count", [13, 39])
def test_charts_of_many_arms_stay_small(count):
    found = evidence()
    others = {f"arm{i}": found[ARMS["code"]] for i in range(count - 2)}
    result = decide(found)
    arms = ENTRY["arms"] | {name: {"trajectory": name} for name in others}
    arm = result["arms"][1]
    result["arms"] += [arm | {"name": name, "run": name} for name in others]
    assert len(drawn(result, along({"arms": arms}, found | others))) == 3


def test_charts_need_the_analyses_of_all_arms():
    found = evidence()
    result = decide(found)
    del found[ARMS["code"]]
    with pytest.raises(data.ChartDataError, match="arms code"):
        drawing.draw(result, along(ENTRY, found))
