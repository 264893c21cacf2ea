"""Does the spectrum rank architectures: every verdict, and the controls."""

import numpy as np
import pytest
from helpers import claims, config, context, run, spectrum
from scipy.stats import kendalltau

from limitcycles.configuration import settings
from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.spectrum_ranks_architectures import (
    rank_correlation as correlation,
)
from limitcycles.papers.chaudhari2018.spectrum_ranks_architectures import rule as architectures
from limitcycles.runtime.errors import LimitcyclesError

LEDGER = claims()["spectrum-ranks-architectures"]
PARAMETERS = LEDGER["rule_parameters"] | {"permutations": 60}
NAMES = list(LEDGER["arms"])[:6]  # small-lenet, and five fully connected networks on 7x7 images
SIX = LEDGER | {"arms": {name: LEDGER["arms"][name] for name in NAMES}}
FEW = SIX | {"rule_parameters": PARAMETERS}
WHOLE = LEDGER | {"rule_parameters": PARAMETERS}
CONNECTED = NAMES[1:]
CNN = [name for name in LEDGER["arms"] if name.startswith("cnn-")]
RUNS = {
    its["run"]: settings.resolve_run(config("paper"), its["run"]) for its in LEDGER["arms"].values()
}
ORDER = np.arange(6)
UP, DOWN, MIXED = [ORDER] * 3, [ORDER[::-1]] * 3, [ORDER, ORDER[::-1], [2, 0, 5, 1, 4, 3]]


def evidence(first, last, share=1.0, errors=None, entry=FEW):
    """Ranks of the networks by score, one list a seed, before and after training.

    Of the score, `share` is the rank of D, the rest the variance of its eigenvalues.
    """
    runs, spectra = [], []
    for i, arm in enumerate(entry["arms"].values()):
        run_name = arm["run"]
        for seed, (before, after) in enumerate(zip(first, last, strict=True)):
            test = [90.0, 1.0 + i if errors is None else errors[seed][i]]
            runs.append(run(run_name, seed, test, test, **RUNS[run_name]))
            for percent, scores in ((0, before), (100, after)):
                value = 0.01 * (1 + scores[i])
                attrs = {
                    "rank_float32": share * value * 1000,
                    "weights": 1000,
                    "std_all": np.sqrt((1 - share) * value),
                }
                spectra.append(spectrum(run_name, seed, percent, **attrs))
    return gather(entry, runs=runs, spectra=spectra)


def decide(*arguments, entry=FEW, **more):
    found = evidence(*arguments, entry=entry, **more)
    return judge("spectrum-ranks-architectures", entry, found, context())


def over_all(connected, cnn):
    """Scores of all networks whose ranks among two groups are given; the other two are far out."""
    values = {"small-lenet-text": -0.5, "allcnn-text": 80}
    values |= dict(zip(CONNECTED, connected, strict=True)) | dict(zip(CNN, cnn, strict=True))
    return [values[name] for name in LEDGER["arms"]]


class TestScore:
    def test_by_hand(self):
        one = spectrum("a", rank_float32=50, weights=1000, std_all=0.2)
        assert architectures.score(one) == pytest.approx(0.05 + 0.04)
        assert architectures.variance(one) == pytest.approx(0.04)

    def test_kendalls_tau_by_hand(self):
        scores = np.array([[1, 1], [2, 3], [3, 2], [4, 4]])
        errors = np.array([[1, 1], [2, 2], [3, 3], [4, 4]])
        # One of six pairs the wrong way round: (5 − 1)/6.
        assert correlation.taus(scores, errors) == pytest.approx([1, 2 / 3])
        assert correlation.taus(-scores, errors) == pytest.approx([-1, -2 / 3])
        # τ-b with one tie among the errors: 5/√(6 · 5).
        tied = np.array([[1], [2], [2], [4]])
        assert correlation.taus(scores[:, :1], tied) == pytest.approx([5 / 30**0.5])

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
        assert correlation.passes(list(values), FEW["rule_parameters"]) == sign


class TestVerdicts:
    @pytest.mark.parametrize("share", [1.0, 0.0, 0.5])
    @pytest.mark.parametrize("ranks", [UP, DOWN])
    def test_reproduced(self, ranks, share):
        result = decide(ranks, ranks, share)
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["caveat"] is None
        assert result["statistic"]["value"] == pytest.approx(1 if ranks is UP else -1)
        assert all(c["passed"] for c in result["controls"])

    @pytest.mark.parametrize(("first", "last", "at"), [(UP, MIXED, 0), (MIXED, DOWN, 100)])
    def test_at_one_snapshot_only(self, first, last, at):
        result = decide(first, last)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == f"only with the score at {at} % of training"

    @pytest.mark.parametrize(("first", "last"), [(UP, DOWN), (DOWN, UP), (MIXED, MIXED)])
    def test_not_reproduced(self, first, last):
        assert decide(first, last)["verdict"] == Verdict.NOT_REPRODUCED

    def test_one_seed_is_no_evidence(self):
        # One seed has no interval, and its τ passes by chance too often: the control says so.
        result = decide(UP[:1], UP[:1], entry=SIX)
        assert result["verdict"] == Verdict.NOT_REPRODUCED
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
    # On the scale of Fisher's z: a correlation is not above 1.
    error = np.std([1, 1, 13 / 15], ddof=1) / 3**0.5 / (1 - main["value"] ** 2)
    z = np.arctanh(main["value"]) + 4.302653 * error * np.array([-1, 1])
    assert main["interval"] == pytest.approx(list(np.tanh(z)), rel=1e-5)
    numbers = {s["name"]: s for s in result["arms"][5]["statistics"]}
    assert numbers["test error"]["value"] == 6
    assert numbers["rank(D)/d + var λ(D) at 0 %"]["value"] == pytest.approx(0.06)
    assert [a["agrees"] for a in result["arms"]] == [None] * 6


def test_each_term_alone_and_the_connected_networks():
    # small-lenet, the first network, spoils the order of the others.
    order = [5, 0, 1, 2, 3, 4]
    result = decide(UP, [order] * 3, share=0.5)
    checks = {c["name"]: c for c in result["checks"]}
    for name in ("fully connected networks only, 100 %", "mnist-7x7, 100 %"):
        assert checks[name]["detail"].startswith("τ = 1.00 [1.00, 1.00] over 3 seeds, 5 networks")
        assert checks[name]["holds"] is True
    # With it, five of fifteen pairs the wrong way round: 1/3.
    assert checks["rank(D)/d alone, 100 %"]["detail"].startswith("τ = 0.33")
    assert checks["rank(D)/d alone, 100 %"]["holds"] is False
    assert checks["var λ(D) alone, 0 %"]["holds"] is True


class TestWithinDatasets:
    ONE, MANY = np.arange(5), np.arange(13)
    ERRORS = np.add(over_all(ONE, 50 + MANY), 1)  # all of them between 0 and 100 %
    # So that the order between two datasets passes, whatever the orders within them.
    LAX = WHOLE | {"rule_parameters": PARAMETERS | {"tau": 0.3}}

    def test_datasets_with_five_networks_are_looked_at(self):
        found = evidence([np.arange(20)], [np.arange(20)], entry=WHOLE)
        groups = architectures.groups(found, list(WHOLE["arms"]), 5)
        assert {where: len(mine) for where, mine in groups.items()} == {
            "mnist-7x7": 5,
            "cifar10-16x16": 13,
        }
        few = [name for name in NAMES if name != "fc-8"]
        assert architectures.groups(found, few, 5) == {}

    @pytest.mark.parametrize("ordered", ["mnist-7x7", "cifar10-16x16"])
    def test_one_dataset_is_enough(self, ordered):
        orders, scores = np.random.default_rng(2), []
        for _ in range(3):
            mixed = [orders.permutation(5), orders.permutation(13)]
            mixed[ordered == "cifar10-16x16"] = (self.ONE, self.MANY)[ordered == "cifar10-16x16"]
            scores.append(over_all(mixed[0], 50 + mixed[1]))
        result = decide(scores, scores, errors=[self.ERRORS] * 3, entry=self.LAX)
        holds = {c["name"] for c in result["checks"] if c["holds"]}
        assert {f"{ordered}, 0 %", f"{ordered}, 100 %"} <= holds
        assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)

    def test_datasets_of_unlike_difficulty_alone_do_not_reproduce(self):
        # CIFAR-10 has the larger errors and the larger scores; within a dataset no order at all.
        orders = np.random.default_rng(2)
        scores = [over_all(orders.permutation(5), 50 + orders.permutation(13)) for _ in range(3)]
        result = decide(scores, scores, errors=[self.ERRORS] * 3, entry=self.LAX)
        checks = {c["name"]: c for c in result["checks"]}
        assert checks["all networks, 100 %"]["holds"] is True
        assert checks["mnist-7x7, 100 %"]["holds"] is False
        assert checks["cifar10-16x16, 0 %"]["holds"] is False
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == (
            "passes within no single dataset (mnist-7x7, cifar10-16x16) with the same sign, only "
            "over all together"
        )

    def test_the_opposite_order_within_a_dataset_does_not_confirm(self):
        orders = np.random.default_rng(2)
        scores = [over_all(self.ONE[::-1], 50 + orders.permutation(13)) for _ in range(3)]
        result = decide(scores, scores, errors=[self.ERRORS] * 3, entry=self.LAX)
        checks = {c["name"]: c for c in result["checks"]}
        assert checks["mnist-7x7, 100 %"]["holds"] is True
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "with the same sign" in result["caveat"]

    def test_without_such_a_dataset_there_is_a_caveat(self):
        entry = FEW | {"arms": {n: FEW["arms"][n] for n in NAMES[:5]}}  # four fully connected
        result = decide([ORDER[:5]] * 3, [ORDER[:5]] * 3, entry=entry)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "none is seen by 5 networks" in result["caveat"]

    def test_a_dataset_keeps_the_seeds_that_its_own_networks_have(self):
        found = evidence(UP, UP)
        found.runs[NAMES[0]] = found.runs[NAMES[0]][:2]
        checks = {
            c["name"]: c
            for c in judge("spectrum-ranks-architectures", FEW, found, context())["checks"]
        }
        assert checks["all networks, 100 %"]["statistic"]["n"] == 2
        assert checks["mnist-7x7, 100 %"]["statistic"]["n"] == 3

    def test_the_share_that_passes_by_chance(self):
        checks = {c["name"]: c for c in decide(UP, UP, entry=SIX)["checks"]}
        assert checks["permutations within mnist-7x7"]["holds"] is True
        one = {c["name"]: c for c in decide(UP[:1], UP[:1], entry=SIX)["checks"]}
        # One seed of five networks: 2 · 14 of 120 orders have |τ| of at least 0.6.
        share = float(one["permutations within mnist-7x7"]["detail"].split()[0])
        assert share == pytest.approx(100 * 28 / 120, abs=4)
        assert one["permutations within mnist-7x7"]["holds"] is False


class TestBootstrap:
    def test_copies_of_a_network_are_left_out_as_in_tau_b(self):
        generator = np.random.default_rng(0)
        scores, errors = generator.standard_normal(7), generator.integers(0, 4, 7).astype(float)
        counts = generator.multinomial(7, np.full(7, 1 / 7), size=50)
        found = correlation.weighted_taus(scores, errors, counts.astype(float))
        for tau, count in zip(found, counts, strict=True):
            s, e = np.repeat(scores, count), np.repeat(errors, count)
            expected = kendalltau(s, e).statistic
            assert tau == pytest.approx(0 if np.isnan(expected) else expected, abs=1e-12)

    def test_a_perfect_order_stays_perfect(self):
        scores = np.arange(6.0)[:, None]
        assert correlation.bootstrap(scores, scores, 0.95) == pytest.approx((1, 1))
        assert correlation.bootstrap(scores, -scores, 0.95) == pytest.approx((-1, -1))

    def test_covers_the_tau_of_the_population(self):
        # Normal scores and errors with correlation ρ have τ = 2/π asin ρ.
        generator, truth, hits = np.random.default_rng(5), 2 / np.pi * np.arcsin(0.7), 0
        for _ in range(60):
            pairs = generator.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=20)
            low, high = correlation.bootstrap(pairs[:, :1], pairs[:, 1:], 0.95)
            hits += low <= truth <= high
        assert hits >= 50

    def test_is_told_beside_tau(self):
        result = decide(UP, [ORDER, ORDER, [0, 1, 2, 3, 5, 4]])
        check = next(c for c in result["checks"] if c["name"] == "all networks, 100 %")
        low, high = check["bootstrap"]
        assert 0 < low < high == 1
        assert f"bootstrap over the networks [{low:.2f}, 1.00]" in check["detail"]
        assert (check["of"], check["percent"]) == ("all networks", 100)
        alone = next(c for c in result["checks"] if c["name"] == "var λ(D) alone, 100 %")
        assert alone["bootstrap"] is None


class TestControls:
    def test_they_behave(self):
        result = decide(UP, UP, entry=SIX)
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
            ("passes", lambda values, parameters, *scale: 1, ["negative"]),
            ("taus", lambda scores, errors: [0.9, 0.95, 0.92], ["negative"]),
            ("passes", lambda values, parameters, *scale: 0, ["positive"]),
            ("taus", lambda scores, errors: [0.1, -0.2, 0.1], ["positive"]),
        ],
    )
    def test_broken_code_cannot_give_reproduced(self, monkeypatch, name, broken, kinds):
        monkeypatch.setattr(correlation, name, broken)
        result = decide(UP, UP)
        assert [c["kind"] for c in result["controls"] if not c["passed"]] == kinds
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        assert "the controls did not behave" in result["caveat"]

    def test_equal_errors_of_two_networks_are_a_tie(self):
        errors = [[1, 2, 2, 4, 5, 6]] * 3
        result = decide(UP, UP, errors=errors)
        assert result["statistic"]["value"] == pytest.approx(14 / (15 * 14) ** 0.5)
        assert result["verdict"] == Verdict.REPRODUCED


def test_networks_are_ranked_by_the_seeds_that_all_have():
    found = evidence(UP, UP)
    whole = judge("spectrum-ranks-architectures", FEW, found, context())
    found.runs[NAMES[0]] = found.runs[NAMES[0]][:2]  # the third seed is not run
    found.spectra[NAMES[0]] = {k: v[:2] for k, v in found.spectra[NAMES[0]].items()}
    fewer = judge("spectrum-ranks-architectures", FEW, found, context())
    assert (whole["statistic"]["n"], fewer["statistic"]["n"]) == (3, 2)
    found.runs[NAMES[1]] = found.runs[NAMES[1]][2:]
    with pytest.raises(LimitcyclesError, match="no seed in common"):
        judge("spectrum-ranks-architectures", FEW, found, context())


def test_arms_that_are_not_there_are_left_out():
    absent = dict.fromkeys(["allcnn-text", *CNN], "not run at this scale")
    result = judge("spectrum-ranks-architectures", WHOLE, evidence(UP, UP), context(absent=absent))
    assert result["verdict"] == Verdict.WITH_CAVEAT
    assert result["caveat"] == f"{', '.join(absent)}: not run at this scale"
    assert [a["name"] for a in result["arms"]] == NAMES


def test_one_network_cannot_be_ranked():
    absent = dict.fromkeys(list(LEDGER["arms"])[1:], "not run at this scale")
    result = judge("spectrum-ranks-architectures", WHOLE, evidence(UP, UP), context(absent=absent))
    assert (result["verdict"], result["caveat"]) == (Verdict.NOT_TESTED, None)
    assert "fewer than two networks" in result["reason"]


def test_a_number_that_is_not_finite_is_named():
    found = evidence(UP, UP)
    found.spectra["fc-16"][100][1].attrs["rank_float32"] = np.nan
    with pytest.raises(LimitcyclesError, match=r"spectrum of D at 100 % of fc-16 .*leading"):
        judge("spectrum-ranks-architectures", FEW, found, context())
