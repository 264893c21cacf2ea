"""The verdict on Fig. 3c from made-up gradients."""

import numpy as np
import pytest
import xarray as xr
from drawing import drawn
from helpers import along, claims, context, misbehaved

from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.gradient_norm import falls as gradient_falls
from limitcycles.papers.chaudhari2018.gradient_norm import rule as claim
from limitcycles.runtime.errors import LimitcyclesError

NAME = "gradient-norm"
ENTRY = claims()[NAME]
EPOCH = np.arange(0, 20_001, 50)
AFTER = 1000


def made_up(evaluation=3.0, training=3.0, seed=0, trajectory="all-nesterov", shuffled=None):
    """An analysis whose norms fall steadily after the transient by these factors, 10 % noise."""
    rng = np.random.default_rng(seed)
    time = np.maximum(EPOCH - AFTER, 0) / (EPOCH[-1] - AFTER)
    falls = {"evaluation": evaluation, "training": training, "shuffled": shuffled or training}
    norms = {
        kind: 1e-3 * by**-time * np.where(EPOCH > AFTER, 1, 20) * rng.uniform(0.9, 1.1, len(EPOCH))
        for kind, by in falls.items()
    }
    attrs = {"trajectory": trajectory, "seed": seed, "after": AFTER, "epochs": int(EPOCH[-1])}
    curve = {f"norm_{k}": v for k, v in norms.items()}
    for kind, values in norms.items():
        curve[f"smoothed_{kind}"] = values
        curve[f"smoothed_after_{kind}"] = np.where(EPOCH > AFTER, values, np.nan)
    for name in ("loss_evaluation", "loss_training", "error_evaluation"):
        curve[name] = np.full(len(EPOCH), 0.1)

    def table(columns, dim):
        return xr.Dataset(
            {name: (dim, values) for name, values in columns.items()},
            coords={"epoch": (dim, EPOCH)},
            attrs=attrs | {"com": 100, "weights": 917},
        )

    partitions = {"norm_one": ("epoch", [2.0, 1.0]), "norm_expected": ("epoch", [1.8, 0.9])}
    return {
        "norms": table({f"norm_{k}": v for k, v in norms.items()}, "gradient"),
        "curve": table(curve, "point"),
        "partitions": xr.Dataset(partitions, {"epoch": [1050, 20_000]}, attrs | {"partitions": 20}),
    }


def both(text: dict, code: dict, seeds=(0, 1, 2)) -> dict:
    return {
        trajectory: [made_up(seed=s, trajectory=trajectory, **falls) for s in seeds]
        for trajectory, falls in (("all-nesterov", text), ("few-heavy-ball", code))
    }


def decide(analyses: dict) -> dict:
    return judge(NAME, ENTRY, along(ENTRY, analyses), context())


def test_reproduced_in_both_arms_and_modes():
    result = decide(both({}, {}))
    assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)
    assert [a["name"] for a in result["arms"]] == ["text", "code"]  # others are not run
    assert [a["agrees"] for a in result["arms"]] == [True, True]
    evaluation, training = result["arms"][0]["statistics"][:2]
    for found in (evaluation, training):
        assert found["value"] == pytest.approx(3 * 3**-0.01, rel=0.05)
        assert (found["n"], found["paper"]) == (3, 3)
        low, high = found["interval"]
        assert low < found["value"] < high
    assert result["statistic"] == training
    assert all(check["holds"] for check in result["checks"][1:])


def test_one_mode_has_a_caveat():
    result = decide(both({"training": 1.0}, {"training": 1.0}))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert (
        result["caveat"] == "holds for text in evaluation mode only, code in evaluation mode only"
    )


def test_one_arm_has_a_caveat_that_names_it():
    result = decide(both({}, {"evaluation": 1.0, "training": 8.0}))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "holds for text in both modes; not for code"


@pytest.mark.parametrize("by", [1.0, 10.0])
def test_another_fall_is_not_reproduced(by):
    falls = {"evaluation": by, "training": by}
    result = decide(both(falls, falls))
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [False, False]


def test_contradicted_only_if_all_falls_are_far_above():
    far = {"evaluation": 100.0, "training": 60.0}
    result = decide(both(far, far))
    assert result["verdict"] == Verdict.CONTRADICTED
    assert not {c["name"]: c for c in result["checks"]}["the gradient does not vanish"]["holds"]
    assert decide(both(far, far | {"training": 20.0}))["verdict"] == Verdict.NOT_REPRODUCED
    assert decide(both(far, {}))["verdict"] == Verdict.WITH_CAVEAT


def test_an_interval_that_reaches_below_does_not_contradict():
    far = {"evaluation": 100.0, "training": 60.0}
    analyses = both(far, far)
    analyses["few-heavy-ball"][0] = made_up(31.0, 4.0, 0, "few-heavy-ball")
    assert decide(analyses)["verdict"] == Verdict.NOT_REPRODUCED


def test_one_seed_is_judged_by_its_value():
    result = decide(both({}, {}, seeds=(0,)))
    assert (result["verdict"], result["caveat"]) == (
        Verdict.WITH_CAVEAT,
        "one seed only: no interval over seeds",
    )
    assert result["statistic"]["interval"] is None
    far = {"evaluation": 100.0, "training": 60.0}
    assert decide(both(far, far))["verdict"] == Verdict.CONTRADICTED
    assert decide(both(far, far, seeds=(0,)))["verdict"] == Verdict.NOT_REPRODUCED  # no interval


def test_other_arms_are_shown_and_have_no_part():
    analyses = both({}, {}) | {"all-plain": [made_up(500, 500, 0, "all-plain")]}
    result = decide(analyses)
    assert [(a["name"], a["agrees"]) for a in result["arms"]][2] == ("all-plain", None)
    assert result["verdict"] == Verdict.REPRODUCED  # its one seed is no caveat


def test_an_arm_that_decides_and_is_not_run():
    analyses = both({}, {})
    del analyses["few-heavy-ball"]
    assert decide(analyses)["caveat"] == "not run at this scale: code"
    result = decide({"all-plain": [made_up()]})
    assert result["verdict"] == Verdict.NOT_TESTED
    assert "none of the arms that decide, text, code, is run" in result["reason"]


def test_windows_by_hand():
    epoch, norms = np.arange(0, 101, 10), np.arange(11.0)
    options = {"after": 20, "last": 100, "fewest": 1}
    # 25 % of 80 epochs are 21 to 40 and 81 to 100.
    assert gradient_falls.window_means(epoch, norms, share=25, **options) == (3.5, 9.5)
    assert gradient_falls.window_means(epoch, norms, share=1, **options) == (3, 10)
    options["fewest"] = 4
    assert gradient_falls.window_means(epoch, norms, share=1, **options) == (4.5, 8.5)
    options["fewest"] = 5
    with pytest.raises(LimitcyclesError, match="8 gradients after epoch 20 are too few"):
        gradient_falls.window_means(epoch, norms, share=1, **options)


def test_the_trend_uses_all_gradients():
    part = made_up(evaluation=5.0)["norms"]
    assert gradient_falls.trend(part, "evaluation") == pytest.approx(5, rel=0.05)
    part["norm_evaluation"].values[-8:] *= 100  # a window would see nothing else
    assert gradient_falls.trend(part, "evaluation") < 5
    assert gradient_falls.fall(part, "evaluation", share=1, fewest=5) < 0.1


def test_a_gradient_of_zero_is_a_large_fall_and_no_error():
    analyses = both({}, {})
    for run in analyses["few-heavy-ball"]:
        run["norms"]["norm_training"].values[-20:] = 0
    result = decide(analyses)
    assert result["arms"][1]["statistics"][1]["value"] > 1e30
    assert result["caveat"] == "holds for text in both modes, code in evaluation mode only"


def test_looks_that_disagree_are_shown():
    result = decide(both({}, {"shuffled": 1.0}))
    checks = {c["name"]: c for c in result["checks"]}
    assert not checks["images shuffled for each gradient"]["holds"]
    assert "code 1.0" in checks["images shuffled for each gradient"]["detail"]
    analyses = both({}, {})
    for run in analyses["all-nesterov"]:
        run["partitions"]["norm_expected"].values[:] = 0.1
    checks = {c["name"]: c for c in decide(analyses)["checks"]}
    assert not checks["the norm in training mode is that of the gradient"]["holds"]
    # The transient is in the first window from epoch 0, with a norm twenty times as large.
    assert not checks["other windows"]["holds"]
    assert "text (1 %, from epoch 0)" in checks["other windows"]["detail"]


def test_controls_are_computed_and_can_fail(monkeypatch):
    positive, negative = decide(both({}, {}))["controls"]
    assert positive["passed"]
    assert positive["statistic"]["value"] == pytest.approx(3, rel=0.1)
    assert negative["passed"]
    # The slowest curvature that counts falls by e^−9.9 between the windows, the others by more.
    assert negative["statistic"]["value"] > np.exp(9)
    planted = claim.planted
    for name, other in (
        ("descent", lambda seed: planted(seed, 3)),
        ("planted", lambda seed, by: planted(seed, 1.2)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(claim, name, other)
            result = decide(both({}, {}))
        assert misbehaved(result)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_charts_are_drawn(seeds):
    analyses = both({}, {"evaluation": 10.0}, seeds) | {
        "all-plain": [made_up(1, 1, 0, "all-plain")]
    }
    analyses["few-heavy-ball"][0]["curve"]["norm_training"].values[-1] = 0
    paper, arms, falls = drawn(decide(analyses), along(ENTRY, analyses)).values()
    assert "first 175 points come from another run" in paper.caption
    assert "paper: falls by 3" in paper.svg
    assert "paper's curve, from epoch 0: falls by a factor of" in paper.svg
    assert "judged, same mode after the transient: by a factor of" in paper.svg
    assert "paper: 3" in falls.svg
    assert "all-plain" not in falls.caption
    large, small = arms.spec["vconcat"]
    assert len(large["concat"]) == 2
    assert small["facet"]["field"] == "arm"


def with_arms(names):
    return {"arms": ENTRY["arms"] | {name: {"trajectory": name} for name in names}}


@pytest.mark.parametrize("count", [13, 39])
def test_charts_of_many_arms_stay_small(count):
    analyses = both({}, {})
    others = {f"arm{i}": [made_up(trajectory=f"arm{i}")] for i in range(count - 2)}
    result = decide(analyses | {"all-plain": [made_up(1, 1, 0, "all-plain")]})
    arm = result["arms"].pop()
    result["arms"] = [arm | {"name": name, "run": name} for name in others] + result["arms"]
    assert len(drawn(result, along(with_arms(others), analyses | others))) == 3
