"""What holds for the result of every claim: controls, caveats, departures."""

import pytest
from helpers import context, run, spectrum

from limitcycles.judging.evidence import gather
from limitcycles.judging.judge import judge
from limitcycles.judging.numbers import statistic
from limitcycles.judging.result import (
    Outcome,
    Verdict,
    all_agree,
    arm,
    assemble,
    negative,
    paper_value,
    positive,
)
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.statistics.intervals import POSITIVE, REAL
from limitcycles.storage import files

ENTRY = {
    "title": "A title",
    "group": "networks",
    "source": "Fig. 1",
    "statement": "Something is so.",
    "paper": [{"name": "rank", "value": 1.8, "unit": "%"}],
    "statistic": "what is measured",
    "rule": "how it is decided",
    "rule_parameters": {"level": 0.95},
    "controls": {"positive": "passes", "negative": "fails"},
    "judged_by": "rank",
    "arms": {
        "text": {"run": "run-text", "description": "the text"},
        "code": {"run": "run-code", "description": "the code"},
    },
}
CONTRACT = {
    "id", "title", "source", "statement", "group", "verdict", "caveat", "reason", "statistic",
    "rule", "rule_parameters", "paper", "arms", "controls", "checks", "seeds", "scale",
    "code_version", "config_hash", "artefacts",
}  # fmt: skip


def number(*values):
    return statistic("number", values or (1, 2, 3), scale=REAL, unit="1", level=0.95)


def outcome(verdict=Verdict.REPRODUCED, *, values=(1, 2, 3), passed=(True, True), caveats=()):
    numbers = number(*values)
    arms = [arm(ENTRY, name, True, [numbers]) for name in ENTRY["arms"]]
    controls = [
        make(f"control {i}", "share", 0.5, behaved)
        for i, (make, behaved) in enumerate(zip((positive, negative), passed, strict=True))
    ]
    return Outcome(verdict, numbers, arms, controls, caveats=list(caveats))


class TestStatistic:
    def test_interval_by_hand(self):
        result = number(1, 2, 3)
        half = 4.302653 / 3**0.5
        assert result["value"] == 2
        assert result["interval"] == pytest.approx([2 - half, 2 + half], rel=1e-6)
        assert (result["n"], result["level"], result["values"]) == (3, 0.95, [1.0, 2.0, 3.0])

    def test_logarithmic(self):
        result = statistic("x", [1, 10, 100], scale=POSITIVE, unit="1", level=0.95, paper=9)
        assert result["kind"] == "geometric mean"
        assert result["interval_scale"] == "log"
        factor = 10 ** (4.302653 / 3**0.5)
        assert result["value"] == pytest.approx(10)
        assert result["interval"] == pytest.approx([10 / factor, 10 * factor], rel=1e-5)
        assert result["paper"] == 9

    def test_one_seed_has_no_interval(self):
        assert number(5)["interval"] is None
        assert number(5)["missing"] == "one value"
        assert number(1, 2)["missing"] is None


class TestAgreement:
    def arms(self, **agrees):
        return [{"name": name, "agrees": value} for name, value in agrees.items()]

    def test_all(self):
        assert all_agree(self.arms(a=True, b=True)) == (Verdict.REPRODUCED, [])

    @pytest.mark.parametrize("other", [False, None])
    def test_some_are_named(self, other):
        verdict, caveats = all_agree(self.arms(a=True, b=other, c=True))
        assert verdict == Verdict.WITH_CAVEAT
        assert caveats == ["holds for a, c; not for b"]

    @pytest.mark.parametrize("other", [False, None])
    def test_none(self, other):
        assert all_agree(self.arms(a=False, b=other)) == (Verdict.NOT_REPRODUCED, [])


class TestAssemble:
    def test_contract(self, tmp_path):
        result = assemble("some-claim", ENTRY, outcome(), context())
        assert result.keys() >= CONTRACT
        assert result["verdict"] == Verdict.REPRODUCED
        assert result["caveat"] is None
        assert result["reason"] is None
        assert result["id"] == "some-claim"
        assert [a["run"] for a in result["arms"]] == ["run-text", "run-code"]
        assert result["scale"] == "laptop"
        assert result["code_version"].startswith("0.")
        files.write_json(tmp_path / "claim.json", result)
        assert files.read_json(tmp_path / "claim.json") == result

    @pytest.mark.parametrize(
        "verdict",
        [Verdict.REPRODUCED, Verdict.WITH_CAVEAT, Verdict.NOT_REPRODUCED, Verdict.CONTRADICTED],
    )
    @pytest.mark.parametrize("passed", [(False, True), (True, False), (False, False)])
    def test_a_control_that_did_not_behave_forbids_reproduced(self, verdict, passed):
        result = assemble("c", ENTRY, outcome(verdict, passed=passed), context())
        assert result["verdict"] == Verdict.NOT_REPRODUCED
        failed = [f"control {i}" for i, behaved in enumerate(passed) if not behaved]
        assert f"the controls did not behave: {', '.join(failed)}" in result["caveat"]

    def test_controls_that_behaved_change_nothing(self):
        for verdict in (Verdict.NOT_REPRODUCED, Verdict.CONTRADICTED):
            result = assemble("c", ENTRY, outcome(verdict), context())
            assert (result["verdict"], result["caveat"]) == (verdict, None)

    @pytest.mark.parametrize(
        ("change", "caveat"),
        [
            ({"departures": {"code": "10 epochs instead of 100"}}, "10 epochs instead of 100"),
            ({"partial": "one network is missing"}, "one network is missing"),
            ({"values": (5,)}, "one seed only: no interval over seeds"),
            ({"caveats": ["holds for text; not for code"]}, "holds for text; not for code"),
        ],
    )
    def test_reproduced_needs_a_caveat_where_something_is_missing(self, change, caveat):
        entry = ENTRY | {k: change[k] for k in ("partial",) if k in change}
        found = outcome(**{k: change[k] for k in ("values", "caveats") if k in change})
        result = assemble("c", entry, found, context(change.get("departures")))
        assert result["verdict"] == Verdict.WITH_CAVEAT
        assert result["caveat"] == caveat
        other = assemble("c", entry, Outcome(**vars(found) | {"verdict": Verdict.NOT_REPRODUCED}),
                         context(change.get("departures")))  # fmt: skip
        assert other["verdict"] == Verdict.NOT_REPRODUCED
        assert other["caveat"] == caveat

    def test_arms_of_one_seed_are_named_beside_those_with_an_interval(self):
        found = outcome(values=(5,))
        found.arms[0] = arm(ENTRY, "text", True, [number(1, 2)])
        result = assemble("c", ENTRY, found, context())
        assert result["caveat"] == "one seed only of code: no interval over seeds"
        entry = ENTRY | {"deciding": ["text"]}
        assert assemble("c", entry, found, context())["caveat"] is None

    def test_departures_belong_to_their_arm_and_are_named_once(self):
        both = dict.fromkeys(("text", "code"), "10 epochs instead of 100")
        result = assemble("c", ENTRY, outcome(), context(both))
        assert result["caveat"] == "10 epochs instead of 100"
        one = assemble("c", ENTRY, outcome(), context({"code": "5 epochs", "other": "none"}))
        assert [a["departure"] for a in one["arms"]] == [None, "5 epochs"]
        assert one["caveat"] == "5 epochs"

    def test_arms_that_are_shown_beside_are_no_caveat(self):
        found = outcome()
        departure = {"code": "5 epochs"}
        assert assemble("c", ENTRY, found, context(departure))["verdict"] == Verdict.WITH_CAVEAT
        result = assemble("c", ENTRY | {"deciding": ["text"]}, found, context(departure))
        assert (result["verdict"], result["caveat"]) == (Verdict.REPRODUCED, None)
        assert [a["departure"] for a in result["arms"]] == [None, "5 epochs"]


class TestJudge:
    def test_not_tested(self):
        entry = {k: v for k, v in ENTRY.items() if k not in ("judged_by", "arms")}
        result = judge("c", entry | {"not_tested": "Needs a later version."}, gather({}), context())
        assert result.keys() >= CONTRACT
        assert (result["verdict"], result["reason"]) == (
            Verdict.NOT_TESTED,
            "Needs a later version.",
        )
        assert (result["statistic"], result["arms"], result["caveat"]) == (None, [], None)
        assert result["planned_controls"] == ENTRY["controls"]

    def test_a_rule_that_does_not_exist(self):
        with pytest.raises(LimitcyclesError, match=r"no rule.py in .*/rnak; .*rank, .*training-er"):
            judge("c", ENTRY | {"judged_by": "rnak"}, gather(ENTRY), context())

    def test_paper_values(self):
        assert paper_value(ENTRY, "rank") == 1.8
        with pytest.raises(LimitcyclesError, match="'mean'"):
            paper_value(ENTRY, "mean")


def test_gather_sorts_by_arm_percent_and_seed():
    runs = [run(name, seed, [90], [90]) for seed in (2, 0, 1) for name in ("run-code", "run-text")]
    spectra = [
        spectrum(name, seed, percent)
        for percent in (100, 20)
        for seed in (1, 0)
        for name in ("run-text", "run-code", "another")
    ]
    evidence = gather(ENTRY, runs=runs, spectra=spectra, sample=["kept", "more"])
    assert {name: [r.attrs["seed"] for r in found] for name, found in evidence.runs.items()} == {
        "text": [0, 1, 2],
        "code": [0, 1, 2],
    }
    assert all(r.attrs["run"] == "run-code" for r in evidence.runs["code"])
    for name in ("text", "code"):
        assert set(evidence.spectra[name]) == {20, 100}
        for percent, found in evidence.spectra[name].items():
            assert [s.attrs["seed"] for s in found] == [0, 1]
            assert {s.attrs["percent"] for s in found} == {percent}
            assert {s.attrs["run"] for s in found} == {f"run-{name}"}
    assert evidence.rows == "kept"
    assert gather(ENTRY).rows is None
