"""Does the spectrum rank architectures: every verdict, and the controls."""

import numpy as np
import pytest
from helpers import claims, context, run, spectrum

from limitcycles.claims import architectures, gather, judge
from limitcycles.claims.result import NOT_REPRODUCED, REPRODUCED, WITH_CAVEAT
from limitcycles.errors import LimitcyclesError

LEDGER = claims()["spectrum-ranks-architectures"]
FEW = LEDGER | {"rule_parameters": LEDGER["rule_parameters"] | {"permutations": 60}}
NAMES = list(FEW["arms"])
ORDER = np.arange(6)
UP, DOWN, MIXED = [ORDER] * 3, [ORDER[::-1]] * 3, [ORDER, ORDER[::-1], [2, 0, 5, 1, 4, 3]]


def evidence(first, last, share=1.0, errors=None):
    """Ranks of the networks by score, one list a seed, before and after training.

    Of the score, `share` is the rank of D, the rest the variance of its eigenvalues.
    """
    runs, spectra = [], []
    for i, name in enumerate(NAMES):
        run_name = FEW["arms"][name]["run"]
        for seed, (before, after) in enumerate(zip(first, last, strict=True)):
            test = [90.0, 1.0 + i if errors is None else errors[seed][i]]
            runs.append(run(run_name, seed, test, test))
            for percent, scores in ((0, before), (100, after)):
                value = 0.01 * (1 + scores[i])
                attrs = {
                    "rank_float32": share * value * 1000,
                    "weights": 1000,
                    "std_all": np.sqrt((1 - share) * value),
                }
                spectra.append(spectrum(run_name, seed, percent, **attrs))
    return gather(FEW, runs=runs, spectra=spectra)


def decide(*arguments, entry=FEW, **more):
    return judge("spectrum-ranks-architectures", entry, evidence(*arguments, **more), context())


class TestScore:
    def test_by_hand(self):
        one = spectrum("a", rank_float32=50, weights=1000, std_all=0.2)
        assert architectures.score(one) == pytest.approx(0.05 + 0.04)
        assert architectures.variance(one) == pytest.approx(0.04)

    def test_kendalls_tau_by_hand(self):
        scores = np.array([[1, 1], [2, 3], [3, 2], [4, 4]])
        errors = np.array([[1, 1], [2, 2], [3, 3], [4, 4]])
        # One of six pairs the wrong way round: (5 − 1)/6.
        assert architectures.taus(scores, errors) == pytest.approx([1, 2 / 3])
        assert architectures.taus(-scores, errors) == pytest.approx([-1, -2 / 3])
        # τ-b with one tie among the errors: 5/√(6 · 5).
        tied = np.array([[1], [2], [2], [4]])
        assert architectures.taus(scores[:, :1], tied) == pytest.approx([5 / 30**0.5])

    @pytest.mark.parametrize(
        ("values", "sign"),
        [
            ((0.7, 0.8, 0.75), 1),
            ((-0.7, -0.8, -0.75), -1),
            ((0.5, 0.55, 0.6), 0),  # too small
            ((0.2, 0.9, 0.9), 0),  # the interval holds 0
            ((0.6,), 1),
            ((0.59,), 0),
        ],
    )
    def test_what_passes(self, values, sign):
        assert architectures.passes(list(values), FEW["rule_parameters"]) == sign


class TestVerdicts:
    @pytest.mark.parametrize("share", [1.0, 0.0, 0.5])
    @pytest.mark.parametrize("ranks", [UP, DOWN])
    def test_reproduced(self, ranks, share):
        result = decide(ranks, ranks, share)
        assert result["verdict"] == REPRODUCED
        assert result["caveat"] is None
        assert result["statistic"]["value"] == pytest.approx(1 if ranks is UP else -1)
        assert all(c["passed"] for c in result["controls"])

    @pytest.mark.parametrize(("first", "last", "at"), [(UP, MIXED, 0), (MIXED, DOWN, 100)])
    def test_at_one_snapshot_only(self, first, last, at):
        result = decide(first, last)
        assert result["verdict"] == WITH_CAVEAT
        assert result["caveat"] == f"only with the score at {at} % of training"

    @pytest.mark.parametrize(("first", "last"), [(UP, DOWN), (DOWN, UP), (MIXED, MIXED)])
    def test_not_reproduced(self, first, last):
        assert decide(first, last)["verdict"] == NOT_REPRODUCED

    def test_one_seed_is_no_evidence(self):
        # One seed has no interval, and its τ passes by chance too often: the control says so.
        result = decide(UP[:1], UP[:1], entry=LEDGER)
        assert result["verdict"] == NOT_REPRODUCED
        assert "permutations of the scores" in result["caveat"]
        assert "one seed only" in result["caveat"]


def test_numbers_by_hand():
    swapped = [0, 1, 2, 3, 5, 4]
    result = decide(UP, [ORDER, ORDER, swapped])
    main = result["statistic"]
    assert main["name"] == "Kendall's τ with the score at 100 %"
    # One of fifteen pairs the wrong way round: 13/15.
    assert main["values"] == pytest.approx([1, 1, 13 / 15])
    assert main["value"] == pytest.approx((2 + 13 / 15) / 3)
    half = 4.302653 * np.std([1, 1, 13 / 15], ddof=1) / 3**0.5
    assert main["interval"] == pytest.approx([main["value"] - half, main["value"] + half], rel=1e-5)
    numbers = {s["name"]: s for s in result["arms"][5]["statistics"]}
    assert numbers["test error"]["value"] == 6
    assert numbers["rank(D)/d + var λ(D) at 0 %"]["value"] == pytest.approx(0.06)
    assert [a["agrees"] for a in result["arms"]] == [None] * 6


def test_each_term_alone_and_the_connected_networks():
    # small-lenet, the first network, spoils the order of the others.
    order = [5, 0, 1, 2, 3, 4]
    result = decide(UP, [order] * 3, share=0.5)
    checks = {c["name"]: c for c in result["checks"]}
    assert len(checks) == 6
    assert checks["fully connected networks only, 100 %"]["detail"].startswith("τ = 1.00")
    assert checks["fully connected networks only, 100 %"]["holds"] is True
    # With it, five of fifteen pairs the wrong way round: 1/3.
    assert checks["rank(D)/d alone, 100 %"]["detail"].startswith("τ = 0.33")
    assert checks["rank(D)/d alone, 100 %"]["holds"] is False
    assert checks["var λ(D) alone, 0 %"]["holds"] is True


class TestControls:
    def test_they_behave(self):
        result = decide(UP, UP, entry=LEDGER)
        positive, negative = result["controls"]
        assert (positive["kind"], negative["kind"]) == ("positive", "negative")
        assert positive["passed"]
        assert positive["statistic"]["value"] == pytest.approx(-1)
        assert negative["passed"]
        # Three seeds of six networks: τ of independent orders passes now and then.
        assert 0 <= negative["statistic"]["value"] < 0.02

    @pytest.mark.parametrize(
        ("name", "broken", "kinds"),
        [
            ("passes", lambda values, parameters: 1, ["negative"]),
            ("taus", lambda scores, errors: [0.9, 0.95, 0.92], ["negative"]),
            ("passes", lambda values, parameters: 0, ["positive"]),
            ("taus", lambda scores, errors: [0.1, -0.2, 0.1], ["positive"]),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, name, broken, kinds):
        monkeypatch.setattr(architectures, name, broken)
        result = decide(UP, UP)
        assert [c["kind"] for c in result["controls"] if not c["passed"]] == kinds
        assert result["verdict"] == NOT_REPRODUCED
        assert "the controls did not behave" in result["caveat"]

    def test_equal_errors_of_two_networks_are_a_tie(self):
        errors = [[1, 2, 2, 4, 5, 6]] * 3
        result = decide(UP, UP, errors=errors)
        assert result["statistic"]["value"] == pytest.approx(14 / (15 * 14) ** 0.5)
        assert result["verdict"] == REPRODUCED


def test_networks_are_ranked_by_the_seeds_that_all_have():
    found = evidence(UP, UP)
    whole = judge("c", FEW, found, context())
    found.runs[NAMES[0]] = found.runs[NAMES[0]][:2]  # the third seed is not run
    found.spectra[NAMES[0]] = {k: v[:2] for k, v in found.spectra[NAMES[0]].items()}
    fewer = judge("c", FEW, found, context())
    assert (whole["statistic"]["n"], fewer["statistic"]["n"]) == (3, 2)
    found.runs[NAMES[1]] = found.runs[NAMES[1]][2:]
    with pytest.raises(LimitcyclesError, match="no seed in common"):
        judge("c", FEW, found, context())
