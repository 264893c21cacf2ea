"""Training and test errors against the paper's: every verdict, and the controls."""

import pytest
from helpers import claims, context, run

from limitcycles.claims import gather, judge, training_errors
from limitcycles.claims.result import NOT_REPRODUCED, REPRODUCED, WITH_CAVEAT

ENTRY = claims()["training-errors"]
WHOLE = {k: v for k, v in ENTRY.items() if k != "partial"}
GOOD, BAD = (0.7, 0.75, 0.8), (0.01, 0.02, 0.03)


def evidence(text, code, untrained=90.0):
    """By arm the training and the test errors at the end, each one a seed."""
    runs = [
        run(ENTRY["arms"][name]["run"], seed, [untrained, 5.0, train], [untrained, 6.0, test])
        for name, (trains, tests) in (("text", text), ("code", code))
        for seed, (train, test) in enumerate(zip(trains, tests, strict=True))
    ]
    return gather(ENTRY, runs=runs)


def decide(text, code, entry=WHOLE, **more):
    return judge("training-errors", entry, evidence(text, code, **more), context())


def test_reproduced():
    result = decide((GOOD, GOOD), (GOOD, (0.5, 0.9, 1.1)))
    assert result["verdict"] == REPRODUCED
    assert result["caveat"] is None
    assert all(c["passed"] for c in result["controls"])


def test_never_without_a_caveat_while_a_network_is_missing():
    result = decide((GOOD, GOOD), (GOOD, GOOD), entry=ENTRY)
    assert result["verdict"] == WITH_CAVEAT
    assert result["caveat"] == ENTRY["partial"]


@pytest.mark.parametrize("code", [(BAD, GOOD), (GOOD, BAD), (BAD, BAD), (GOOD, (5, 5, 5))])
def test_one_arm_only(code):
    result = decide((GOOD, GOOD), code)
    assert result["verdict"] == WITH_CAVEAT
    assert result["caveat"] == "holds for text; not for code"


def test_not_reproduced():
    result = decide((BAD, GOOD), (GOOD, BAD))
    assert result["verdict"] == NOT_REPRODUCED
    assert [a["agrees"] for a in result["arms"]] == [False, False]
    assert decide(((90,) * 3,) * 2, ((90,) * 3,) * 2)["verdict"] == NOT_REPRODUCED


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
    half = 4.302653 / 3**0.5
    assert test["interval"] == pytest.approx([2 - half, 2 + half], rel=1e-6)
    assert train["value"] == pytest.approx(0.7)
    assert (test["paper"], test["unit"], test["n"]) == (0.75, "%", 3)


def test_one_seed():
    result = decide(((0.75,), (0.75,)), ((0.75,), (0.75,)))
    assert (result["verdict"], result["caveat"]) == (WITH_CAVEAT, "one seed only: no interval")


class TestControls:
    def test_they_behave(self):
        positive, negative = decide((GOOD, GOOD), (GOOD, GOOD))["controls"]
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert positive["statistic"]["value"] == 0.75
        assert negative["statistic"]["value"] == 90
        assert positive["passed"]
        assert negative["passed"]

    def test_errors_that_do_not_come_from_training(self):
        result = decide((GOOD, GOOD), (GOOD, GOOD), untrained=0.75)
        assert [c["passed"] for c in result["controls"]] == [True, False]
        assert result["verdict"] == NOT_REPRODUCED

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
        assert [c["kind"] for c in result["controls"] if not c["passed"]] == kinds
        assert result["verdict"] == NOT_REPRODUCED
