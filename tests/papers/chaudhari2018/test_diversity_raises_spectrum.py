"""Diverse data and the spectrum: every verdict, pairs that are missing, controls, charts."""

import numpy as np
import pytest
from drawing import drawn
from helpers import claims, context, one_thread, spectrum  # noqa: F401

from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.result import Verdict
from limitcycles.papers.chaudhari2018.diversity_raises_spectrum import pairs
from limitcycles.papers.chaudhari2018.diversity_raises_spectrum import rule as diversity
from limitcycles.runtime.errors import LimitcyclesError

CLAIM = "diversity-raises-spectrum"
ENTRY = claims()[CLAIM]
NAMES = list(ENTRY["arms"])
UP = {
    "mnist": 1, "cifar10": 2, "cifar100": 4, "cifar10-augmented": 3,
    "mnist-2-classes": 1, "mnist-5-classes": 2, "mnist-10-classes": 4, "mnist-1000-images": 3,
    "cifar10-2-classes": 1, "cifar10-5-classes": 2, "cifar10-10-classes": 4,
    "cifar10-1000-images": 3,
}  # fmt: skip
# Steeply, so that it goes down in the trace as well: CIFAR-10 has twice the weights of MNIST.
DOWN = {name: value**-3.0 for name, value in UP.items()}
SEEDS = {0: 1.0, 1: 1.3, 2: 0.9}  # a factor that all arms of a seed share: pairs cancel it


@pytest.fixture(autouse=True)
def few_exchanges(monkeypatch):
    monkeypatch.setattr(diversity, "EXCHANGES", 60)


def stored(name, seed, mean, std, trace=None):
    weights = 13338 if name.startswith("mnist") else 26982
    rng = np.random.default_rng([seed, NAMES.index(name)])
    mean, std = (x * np.exp(0.02 * rng.standard_normal()) for x in (mean, std))
    trace = mean * weights if trace is None else trace
    return spectrum(
        ENTRY["arms"][name]["run"], seed, eigenvalue=[100 * std], weights=weights,
        mean_all=mean, std_all=std, mean_clipped=2 * mean, mean_above=30 * mean, trace=trace,
        frobenius_norm=np.sqrt(weights * (std**2 + mean**2)),
    )  # fmt: skip


def evidence(mean, std, seeds=SEEDS, trace=None):
    """Spectra whose mean and std are these, by arm, times the factor of the seed."""
    spectra = [
        stored(n, s, 1e-3 * f * mean[n], 1e-2 * f * std[n], trace and trace[n])
        for n in mean
        for s, f in seeds.items()
    ]
    return gather(ENTRY, spectra=spectra)


def decide(mean=UP, std=None, absent=(), **more):
    there = context() | {"absent": dict.fromkeys(absent, "data not reachable (x)")}
    return judge(CLAIM, ENTRY, evidence(mean, std or mean, **more), there)


def checks(result, start):
    return [c for c in result["checks"] if c["name"].startswith(start)]


class TestVerdicts:
    def test_reproduced(self):
        result = decide()
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["caveat"] is None
        assert all(c["passed"] for c in result["controls"])
        assert all(c["holds"] for c in result["checks"])
        assert len(checks(result, "first rule")) == 3
        assert len(checks(result, "second rule")) == 6

    @pytest.mark.parametrize("moment", ["mean eigenvalue", "std of eigenvalues"])
    def test_one_of_the_two_moments_in_every_pair(self, moment):
        both = {"mean eigenvalue": DOWN, "std of eigenvalues": DOWN, moment: UP}
        result = decide(*both.values())
        assert result["verdict"] == Verdict.WITH_CAVEAT
        other = next(m for m in both if m != moment)
        assert f"mnist < cifar10 does not hold for the {other}" in result["caveat"]

    def test_some_pairs(self):
        result = decide(UP | {"cifar100": 1})
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert (
            "cifar10 < cifar100 does not hold for the mean eigenvalue and the std of eigenvalues"
            in result["caveat"]
        )

    def test_one_moment_in_one_pair_is_not_enough(self):
        flat = dict.fromkeys(UP, 1.0)
        result = decide(flat | {"mnist": 0.1}, flat)
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    def test_contradicted(self):
        result = decide(DOWN)
        assert result["verdict"] == Verdict.CONTRADICTED
        assert not any(c["holds"] for c in checks(result, "first rule"))

    def test_a_contradiction_says_if_the_trace_does_not_share_it(self):
        result = decide(DOWN, trace=UP)
        assert result["verdict"] == Verdict.CONTRADICTED
        assert "below 0 in every pair, but not so in trace" in result["caveat"]

    def test_one_pair_that_is_not_below_0_prevents_a_contradiction(self):
        flat = DOWN | {"cifar100": DOWN["cifar10"]}
        assert decide(flat)["verdict"] == Verdict.NOT_REPRODUCED

    def test_an_interval_that_holds_0_does_not_hold(self):
        seeds = {0: 1.0, 1: 1.0, 2: 1.0}
        spread = evidence(UP, UP, seeds)
        for found, factor in zip(spread.spectra["cifar100"][100], (0.3, 2, 5), strict=True):
            found.attrs["mean_all"] *= factor
        result = judge(CLAIM, ENTRY, spread, context())
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "cifar10 < cifar100 does not hold for the mean eigenvalue" in result["caveat"]

    def test_the_second_rule_takes_away_a_clear_verdict_only_if_all_its_pairs_fail(self):
        first = {name: UP[name] for name in ENTRY["deciding"]}
        others = {name: value for name, value in DOWN.items() if name not in first}
        result = decide(first | others)
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == "within one dataset and one network it holds in no pair"
        result = decide(first | others | {"mnist-1000-images": 1e-3})
        assert result["verdict"] == Verdict.REPRODUCED
        assert [c["holds"] for c in checks(result, "second rule")].count(True) == 1

    def test_one_seed(self):
        result = decide(seeds={0: 1.0})
        assert "one seed only: no interval over seeds" in result["caveat"]
        assert result["statistic"]["interval"] is None


class TestMissing:
    def test_a_missing_pair_is_named_and_costs_the_clear_verdict(self):
        result = decide(absent=["cifar100"])
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert "cifar10 < cifar100 is not tested" in result["caveat"]
        assert "cifar100: data not reachable (x)" in result["caveat"]
        assert all(c["passed"] for c in result["controls"])
        (check,) = [c for c in result["checks"] if c["detail"] == "not tested"]
        assert check["name"] == "first rule: cifar10 < cifar100"

    def test_nothing_is_contradicted_while_a_pair_is_missing(self):
        assert decide(DOWN, absent=["cifar100"])["verdict"] == Verdict.NOT_REPRODUCED

    def test_arms_of_the_second_rule_are_no_caveat(self):
        absent = [name for name in NAMES if name not in ENTRY["deciding"]]
        result = decide(absent=absent)
        assert result["verdict"] == Verdict.REPRODUCED
        assert [c["detail"] for c in checks(result, "second rule")] == ["not tested"] * 6

    @pytest.mark.parametrize("absent", [["cifar10"], ["mnist", "cifar100", "cifar10-augmented"]])
    def test_no_pair_at_all(self, absent):
        result = decide(absent=absent)
        assert result["verdict"] == Verdict.NOT_TESTED
        assert "no pair of mnist < cifar10" in result["reason"]

    def test_seeds_are_paired(self):
        found = evidence(UP, UP)
        found.spectra["mnist"][100] = found.spectra["mnist"][100][1:]
        found.spectra["mnist"][100].append(stored("mnist", 9, 1.0, 1.0))
        result = judge(CLAIM, ENTRY, found, context())
        ratios = {s["name"]: s for a in result["arms"] for s in a["statistics"]}
        ratio = ratios["log ratio of the mean eigenvalue, mnist < cifar10"]
        assert ratio["n"] == 2
        # The factor of each seed cancels, whatever it is.
        assert ratio["values"] == pytest.approx([np.log(2)] * 2, abs=0.1)

    def test_one_common_seed_is_said(self):
        found = evidence(UP, UP)
        for one, seed in zip(found.spectra["mnist"][100], (2, 8, 9), strict=True):
            one.attrs["seed"] = seed
        result = judge(CLAIM, ENTRY, found, context())
        assert result["caveat"] == "mnist < cifar10: one common seed only, no interval"

    def test_no_common_seed(self):
        found = evidence(UP, UP)
        for one in found.spectra["mnist"][100]:
            one.attrs["seed"] += 10
        with pytest.raises(LimitcyclesError, match=r"mnist and cifar10 .* no seed in common"):
            judge(CLAIM, ENTRY, found, context())

    def test_a_reading_that_is_not_resolved_is_said(self):
        found = evidence(UP, UP)
        found.spectra["cifar100"][100][0].attrs["mean_clipped"] = float("nan")
        result = judge(CLAIM, ENTRY, found, context())
        assert result["verdict"] == Verdict.REPRODUCED
        (check,) = [c for c in result["checks"] if c["name"].startswith("mean, clipped")]
        assert check["holds"] is False
        assert "cifar10 < cifar100: not resolved" in check["detail"]


def test_numbers_by_hand():
    found = evidence(UP, UP)
    planted = {"mnist": (1, 2, 4), "cifar10": (2, 8, 32)}
    planted |= dict.fromkeys(("cifar100", "cifar10-augmented"), (40, 160, 640))
    for name, values in planted.items():
        for one, value in zip(found.spectra[name][100], values, strict=True):
            one.attrs |= {"mean_all": value, "std_all": 3 * value}
    result = judge(CLAIM, ENTRY, found, context())
    numbers = {a["name"]: {s["name"]: s for s in a["statistics"]} for a in result["arms"]}
    ratio = numbers["cifar10"]["log ratio of the std of eigenvalues, mnist < cifar10"]
    assert ratio["values"] == pytest.approx(np.log([2, 4, 8]))
    assert ratio["paper"] is None
    of_mean = numbers["cifar10"]["log ratio of the mean eigenvalue, mnist < cifar10"]
    assert of_mean["paper"] == pytest.approx(np.log(900))
    half = 4.302653 * np.log(2) / 3**0.5
    assert ratio["interval"] == pytest.approx([np.log(4) - half, np.log(4) + half], rel=1e-5)
    assert numbers["mnist"]["mean eigenvalue"]["value"] == pytest.approx(2)
    assert numbers["mnist"]["mean eigenvalue"]["paper"] == 0.3e-3
    assert numbers["cifar100"]["mean eigenvalue"]["paper"] == 0.98
    assert numbers["mnist"]["std of eigenvalues"]["paper"] is None
    # The headline is the weakest of the first rule: here the widest interval.
    assert result["statistic"]["interval"][0] == pytest.approx(np.log(4) - half)


class TestControls:
    def test_the_spread_of_synthetic_gradients_is_raised(self):
        values = diversity.planted(0, diversity.pairs_of(ENTRY)[0])
        growth = np.log(diversity.PLANTED[2] ** 2)  # eigenvalues grow with the square
        step = values["cifar10"] - values["mnist"]
        assert step == pytest.approx([growth, growth], abs=0.15)

    @pytest.mark.parametrize("values", [UP, DOWN])
    @pytest.mark.parametrize("absent", [(), ("cifar100",)])
    def test_they_behave_whatever_is_found(self, values, absent):
        result = decide(values, absent=absent)
        assert [c["passed"] for c in result["controls"]] == [True, True]

    @pytest.mark.parametrize(
        ("absent", "seeds"), [(("cifar100",), {0: 1.0}), (("cifar100", "cifar10-augmented"), SEEDS)]
    )
    def test_few_names_and_seeds_cannot_tell_an_order_from_chance(self, absent, seeds):
        result = decide(absent=absent, seeds=seeds)
        assert [c["passed"] for c in result["controls"]] == [True, False]
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    @pytest.mark.parametrize(("broken", "kind"), [(1, "negative"), (-1, "positive")])
    def test_broken_code_cannot_give_a_clear_verdict(self, monkeypatch, broken, kind):
        monkeypatch.setattr(pairs, "sign", lambda values, parameters: broken)
        result = decide()
        assert kind in [c["kind"] for c in result["controls"] if not c["passed"]]
        assert result["verdict"] == Verdict.NOT_REPRODUCED

    def test_a_rule_that_forgets_the_interval_lets_exchanges_pass(self, monkeypatch):
        monkeypatch.setattr(pairs, "sign", lambda values, parameters: int(np.sign(np.mean(values))))
        flat = {name: UP[name] for name in ("mnist", "cifar10")}
        result = decide(flat | {n: 1 for n in NAMES if n not in flat}, absent=NAMES[2:])
        (negative,) = [c for c in result["controls"] if c["kind"] == "negative"]
        assert negative["statistic"]["value"] > 0.2
        assert negative["passed"] is False


class TestCharts:
    def drawn(self, **more):
        return drawn(decide(**more), evidence(UP, UP), most=3000)

    def test_they_are_named_and_say_the_papers_means(self):
        moments = self.drawn()["moments"]
        assert moments.svg.count(">paper<") == 4
        for number in ("3·10⁻⁴ (mnist)", "0.27 (cifar10)", "0.98 (cifar100)"):
            assert number in moments.caption

    def test_both_rules_are_drawn_against_0(self):
        ratios = self.drawn()["log-ratios"]
        assert "First rule" in ratios.svg
        assert "Second rule" in ratios.svg
        assert f"mnist < cifar10 {np.log(0.27 / 0.3e-3):.2f}" in ratios.caption
        for pair in ENTRY["pairs"]:
            assert diversity.pair_name(pair).replace("<", "&lt;") in ratios.svg
            assert f"{diversity.pair_name(pair)} 0" in ratios.caption

    def test_missing_pairs_are_not_drawn(self):
        ratios = self.drawn(absent=["cifar100", *NAMES[4:]])["log-ratios"]
        assert "Second rule" not in ratios.caption
        assert "cifar100" not in ratios.caption
