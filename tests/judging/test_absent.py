"""Arms that are not there: another scale runs them, or their data cannot be had."""

import numpy as np
import pytest
from helpers import claims, config, context, spectrum

from limitcycles.configuration import settings
from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import absent, judge
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import Outcome, Verdict, arm, assemble, negative, positive
from limitcycles.papers.chaudhari2018.rank import rule as rank
from limitcycles.statistics.intervals import REAL

ENTRY = claims()["rank-cifar100"]
LINES = (
    "cifar100: no source could deliver it. Tried:\n  1. a folder: none is named\nWhat to do: ..."
)
FILE = "all attempts, and what to do: data/cifar100.reachable.json"
UNREACHABLE = f"data not reachable (cifar100: no source could deliver it; {FILE})"
NOT_RUN = "not run at this scale"


def resolved(entry, scale="paper"):
    """The resolved settings of each arm's run."""
    tree = config(scale)
    return {
        name: settings.resolve_run(tree, its["run"])
        for name, its in entry["arms"].items()
        if "run" in its
    }


class TestAbsent:
    def test_all_are_there(self):
        assert absent(ENTRY, resolved(ENTRY), {}) == {}
        assert absent(ENTRY, resolved(ENTRY), {"cifar100": None}) == {}

    def test_data_that_cannot_be_had(self):
        found = absent(ENTRY, resolved(ENTRY), {"cifar100": LINES})
        assert found == {"text": UNREACHABLE, "code": UNREACHABLE}
        assert absent(ENTRY, resolved(ENTRY), {"cifar10": LINES}) == {}

    @pytest.mark.parametrize(
        ("said", "first"),
        [
            ("no network.", "no network"),
            ("no network", "no network"),
            ("a.npz is damaged:\nsee there", "a.npz is damaged:"),
        ],
    )
    def test_the_first_sentence_is_enough(self, said, first):
        (reason,) = set(absent(ENTRY, resolved(ENTRY), {"cifar100": said}).values())
        assert reason == f"data not reachable ({first}; {FILE})"

    def test_runs_that_the_scale_leaves_out(self):
        assert absent(ENTRY, resolved(ENTRY, "laptop"), {}) == {"code": NOT_RUN}
        assert absent(ENTRY, resolved(ENTRY, "quick"), {}) == {"text": NOT_RUN, "code": NOT_RUN}

    def test_a_run_that_is_left_out_does_not_ask_for_its_data(self):
        found = absent(ENTRY, resolved(ENTRY, "laptop"), {"cifar100": LINES})
        assert found == {"text": UNREACHABLE, "code": NOT_RUN}

    @pytest.mark.parametrize("claim", ["sde-limit", "gradient-norm"])
    def test_arms_without_a_run_are_not_asked(self, claim):
        assert absent(claims()[claim], {}, {"cifar100": LINES}) == {}


def spectra(run, ranks):
    """Spectra of one run at 20, 40 and 100 %, with the paper's mean eigenvalue of CIFAR-100."""
    numbers = {f"mean_{r}": 0.98 for r in rank.READINGS} | {f"std_{r}": 2.16 for r in rank.READINGS}
    numbers |= {"participation_ratio": 20.0, "weights": 29_412}
    return [
        spectrum(run, seed, percent, eigenvalue=[300.0], rank_percent_float32=value, **numbers)
        for seed, value in enumerate(ranks)
        for percent in (20, 40, 100)
    ]


class TestJudge:
    @pytest.fixture(autouse=True)
    def small_controls(self, monkeypatch):
        monkeypatch.setattr(rank, "CONTROL_SHAPE", (900, 300))

    def decide(self, missing, *stores):
        evidence = gather(ENTRY, spectra=[one for some in stores for one in some])
        return judge("rank-cifar100", ENTRY, evidence, context(absent=missing))

    def test_without_any_arm_there_is_no_verdict(self):
        for reason in (UNREACHABLE, NOT_RUN):
            result = self.decide(dict.fromkeys(("text", "code"), reason))
            assert (result["verdict"], result["reason"]) == (Verdict.NOT_TESTED, reason)
            assert (result["arms"], result["statistic"], result["caveat"]) == ([], None, None)

    def test_every_reason_is_told_once(self):
        result = self.decide({"text": UNREACHABLE, "code": NOT_RUN})
        assert result["reason"] == f"{UNREACHABLE}; {NOT_RUN}"

    def test_the_arms_that_are_there_are_judged_with_a_caveat(self):
        result = self.decide({"code": NOT_RUN}, spectra("allcnn-100-text", (0.45, 0.47, 0.49)))
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == f"code: {NOT_RUN}"
        assert [a["name"] for a in result["arms"]] == ["text"]

    def test_a_failure_stays_one(self):
        result = self.decide({"code": NOT_RUN}, spectra("allcnn-100-text", (40, 41, 42)))
        assert result["verdict"] not in (
            Verdict.REPRODUCED,
            Verdict.WITH_CAVEAT,
            Verdict.NOT_TESTED,
        )
        assert result["caveat"] == f"code: {NOT_RUN}"

    def test_the_ledger_stays_as_it_is(self):
        self.decide({"code": NOT_RUN}, spectra("allcnn-100-text", (0.45, 0.47, 0.49)))
        assert list(ENTRY["arms"]) == ["text", "code"]


def test_reasons_are_grouped_and_only_those_of_deciding_arms_count():
    arms = {n: {"run": n, "description": n} for n in ("a", "b", "c", "d")}
    entry = claims()["rank-cifar100"] | {"arms": {"a": arms["a"]}}
    number = statistic("x", [1, 2, 3], scale=REAL, unit="1", level=0.95)
    behaved = [make("x", "share", 0, True) for make in (positive, negative)]
    found = Outcome(Verdict.REPRODUCED, number, [arm(entry, "a", True, [number])], behaved)
    missing = context(absent={"b": NOT_RUN, "c": UNREACHABLE, "d": NOT_RUN})
    result = assemble("c", entry, found, missing)
    assert result["caveat"] == f"b, d: {NOT_RUN}; c: {UNREACHABLE}"
    entry["deciding"] = ["a", "c"]
    assert assemble("c", entry, found, missing)["caveat"] == f"c: {UNREACHABLE}"
    entry["deciding"] = ["a"]
    result = assemble("c", entry, found, missing)
    assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)


@pytest.mark.parametrize(
    ("growth", "verdict"), [(0, Verdict.WITH_CAVEAT), (1, Verdict.CONTRADICTED)]
)
def test_the_noise_is_judged_on_the_arm_that_is_there(growth, verdict):
    """The kept rows, for the controls, are then those of that arm, though others stand before."""
    entry = claims()["noise-independent-of-weights"]
    rows = np.random.default_rng(0).standard_normal((200, 30)) / np.arange(1, 31)
    stores = [
        spectrum(
            "small-fc-text",
            seed,
            percent,
            eigenvalue=percent**growth * np.geomspace(1, 1e-3, 30),
            rank_float32=20,
            trace=1.0,
        )
        for seed in (0, 1, 2)
        for percent in (20, 40, 100)
    ]
    sample = spectrum("small-fc-text").assign(gradient=(("row", "weight"), rows))
    missing = dict.fromkeys([n for n in entry["arms"] if n != "fc-text"], NOT_RUN)
    evidence = gather(entry, spectra=stores, sample=[sample])
    result = judge("noise-independent-of-weights", entry, evidence, context(absent=missing))
    assert [a["name"] for a in result["arms"]] == ["fc-text"]
    assert all(c["passed"] for c in result["controls"])
    assert result["verdict"] == verdict
    assert result["caveat"] == f"{', '.join(missing)}: {NOT_RUN}"
