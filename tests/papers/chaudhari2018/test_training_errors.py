"""Training and test errors against the paper's: every verdict, and the controls."""

import numpy as np
import pytest
from helpers import claims, context, run

from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.training_errors import rule as training_errors
from limitcycles.runtime.errors import LimitcyclesError

ENTRY = claims()["training-errors"]
GOOD, BAD = (0.7, 0.75, 0.8), (0.01, 0.02, 0.03)
ALLCNN = ((10, 11, 12), (16, 17, 18))  # training, test
ABSENT = dict.fromkeys(["allcnn-text", "allcnn-code"], "not run at this scale")


def evidence(text, code, allcnn=(ALLCNN, ALLCNN), untrained=90.0):
    """By arm the training and the test errors at the end, each one a seed."""
    runs = [
        run(
            arm["run"],
            seed,
            [untrained, 5.0, train],
            [untrained, 6.0, test],
            network_name="small-allcnn" if name.startswith("allcnn") else "small-lenet",
        )
        for (name, arm), (trains, tests) in zip(
            ENTRY["arms"].items(), (text, code, *allcnn), strict=False
        )
        for seed, (train, test) in enumerate(zip(trains, tests, strict=True))
    ]
    return gather(ENTRY, runs=runs)


def decide(text, code, *, absent=None, **more):
    found = evidence(text, code, **more)
    return judge("training-errors", ENTRY, found, context(absent=absent))


def test_reproduced():
    result = decide((GOOD, GOOD), (GOOD, (0.5, 0.9, 1.1)))
    assert result["verdict"] == Verdict.REPRODUCED
    assert result["caveat"] is None
    assert all(c["passed"] for c in result["controls"])


def test_never_without_a_caveat_while_a_network_is_missing():
    result = decide((GOOD, GOOD), (GOOD, GOOD), allcnn=(), absent=ABSENT)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == (
        "small-allcnn is not tested; allcnn-text, allcnn-code: not run at this scale"
    )
    assert len(result["controls"]) == 2


def test_small_allcnn_alone_cannot_reproduce_the_claim():
    absent = dict.fromkeys(["text", "code"], "not run at this scale")
    result = decide(((), ()), ((), ()), absent=absent)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"].startswith("small-lenet is not tested; ")


@pytest.mark.parametrize(
    ("train", "test", "agrees"),
    [
        (11, 17, True),
        (7.4, 11.4, True),
        (16.4, 25.4, True),
        (7.3, 17, False),
        (11, 25.6, False),
        (17, 11, False),  # 17/11 = 1.55: training is not compared with the test error
        (0.75, 0.75, False),
    ],
)
def test_small_allcnn_has_its_own_numbers(train, test, agrees):
    result = decide((GOOD, GOOD), (GOOD, GOOD), allcnn=(((train,) * 3, (test,) * 3), ALLCNN))
    arm = result["arms"][2]
    assert (arm["name"], arm["agrees"]) == ("allcnn-text", agrees)
    assert [s["paper"] for s in arm["statistics"]] == [17, 11]
    assert [s["paper"] for s in result["arms"][0]["statistics"]] == [0.75, 0.75]
    assert result["verdict"] == (Verdict.REPRODUCED if agrees else Verdict.WITH_CAVEAT)


def test_a_network_that_the_paper_has_no_errors_of_is_refused():
    found = evidence((GOOD, GOOD), (GOOD, GOOD))
    found.runs["code"][0].attrs["settings"] = '{"network_name": "small-fc"}'
    with pytest.raises(LimitcyclesError, match="test error of small-fc"):
        judge("training-errors", ENTRY, found, context())


@pytest.mark.parametrize("code", [(BAD, GOOD), (GOOD, BAD), (BAD, BAD), (GOOD, (5, 5, 5))])
def test_one_arm_only(code):
    result = decide((GOOD, GOOD), code)
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == "holds for text, allcnn-text, allcnn-code; not for code"


def test_not_reproduced():
    bad = (((3, 3, 3), (17, 17, 17)), ((11, 11, 11), (40, 40, 40)))
    result = decide((BAD, GOOD), (GOOD, BAD), allcnn=bad)
    assert result["verdict"] == Verdict.NOT_REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [False] * 4
    chance = ((90,) * 3,) * 2
    assert decide(chance, chance, allcnn=(chance, chance))["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("error", "agrees"), [(0.499, False), (0.501, True), (1.124, True), (1.126, False), (0, False)]
)
def test_the_band_holds_the_mean(error, agrees):
    values = (error - error / 2, error, error + error / 2)
    assert decide((values, GOOD), (GOOD, GOOD))["arms"][0]["agrees"] is agrees
    assert decide((GOOD, values), (GOOD, GOOD))["arms"][0]["agrees"] is agrees


def test_numbers_by_hand():
    result = decide(((0.6, 0.7, 0.8), (1, 2, 3)), (GOOD, GOOD))
    test, train = (result["arms"][0]["statistics"][i] for i in range(2))
    assert (test["name"], train["name"]) == ("test error", "train error")
    assert (test["value"], test["values"]) == (2, [1, 2, 3])
    factor = np.exp(4.302653 / 3**0.5 / 100 / (0.02 * 0.98))  # of the odds of an error
    odds = [0.02 / 0.98 / factor, 0.02 / 0.98 * factor]
    assert test["interval"] == pytest.approx([100 * o / (1 + o) for o in odds], rel=1e-5)
    assert (test["kind"], test["interval_scale"]) == ("mean", "logit")
    assert train["value"] == pytest.approx(0.7)
    assert (test["paper"], test["unit"], test["n"]) == (0.75, "%", 3)


def test_one_seed():
    one = ((0.75,), (0.75,))
    result = decide(one, one, allcnn=(((11,), (17,)),) * 2)
    assert (result["verdict"], result["caveat"]) == (
        Verdict.WITH_CAVEAT,
        "one seed only: no interval over seeds",
    )


class TestControls:
    def test_they_behave(self):
        positive, negative, *others = decide((GOOD, GOOD), (GOOD, GOOD))["controls"]
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert [c["statistic"]["value"] for c in others] == [17, 90]
        assert others[0]["name"] == "small-allcnn: 1700 of 10000 labels planted wrong"
        assert all(c["passed"] for c in others)
        assert positive["statistic"]["value"] == 0.75
        assert negative["statistic"]["value"] == 90
        assert positive["passed"]
        assert negative["passed"]

    def test_errors_that_do_not_come_from_training(self):
        result = decide((GOOD, GOOD), (GOOD, GOOD), untrained=0.75)
        assert [c["passed"] for c in result["controls"]] == [True, False, True, True]
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    @pytest.mark.parametrize(
        ("name", "broken", "kinds"),
        [
            # A share instead of percent, the share of right predictions, everything right.
            ("error_percent", lambda p, y: float((p != y).float().mean()), ["positive"]),
            ("error_percent", lambda p, y: 100 * float((p == y).float().mean()), ["positive"]),
            ("error_percent", lambda p, y: 0.0, ["positive"]),
            ("within", lambda value, target, factor: True, ["negative"]),
            ("within", lambda value, target, factor: value >= target / factor, ["negative"]),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, name, broken, kinds):
        monkeypatch.setattr(training_errors, name, broken)
        result = decide((GOOD, GOOD), (GOOD, GOOD))
        assert [c["kind"] for c in result["controls"] if not c["passed"]] == kinds * 2
        assert result["verdict"] == Verdict.NOT_REPRODUCED
