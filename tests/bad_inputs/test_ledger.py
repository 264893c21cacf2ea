"""Entries of the ledger that are refused before any run: by claim, key, value and remedy."""

import copy
import textwrap
from pathlib import Path

import pytest
import yaml
from bad_inputs.refusal import refusal, says
from helpers import PAPER_SCHEMA, claims, config, head

from limitcycles.judging import folders, papers

CLAIMS, CONFIG = claims(), config("laptop")
RANK, LINEAR, WELL = "rank-small-lenet", "linear-decomposition", "double-well"
GONE = object()
# a claim, the key that is changed (dots for depth), its new value (GONE: deleted), the key that is
# told, what is said
ENTRIES = [
    (RANK, "sorce", "x", "sorce", ["unknown key", "nearest valid key: source"]),
    (RANK, "source", GONE, "source", ["is missing; add it"]),
    (RANK, "title", "", "title", ["must not be empty"]),
    (RANK, "group", "network", "group", ["is not under sections; nearest valid value: networks"]),
    (RANK, "paper", {}, "paper", ["{} is not a list"]),
    (RANK, "paper.0.vaule", 1, "paper[0].vaule", ["unknown key", "value"]),
    (RANK, "paper.0.value", "1.8", "paper[0].value", ["write 1.8 without quotes"]),
    (RANK, "paper.0.unit", GONE, "paper[0].unit", ["is missing; add it"]),
    (RANK, "paper", [], "paper", ['no number with the name "rank"', "the rule rank reads"]),
    (RANK, "paper.0.name", "ranks", "paper", ['no number with the name "rank"', 'is it "ranks"?']),
    (RANK, "snapshots", [100, 20], "snapshots", ["rising order"]),
    (RANK, "snapshots", [], "snapshots", ["[] is not allowed"]),
    (RANK, "snapshots", 100, "snapshots", ["100 is not a list"]),
    (RANK, "snapshots", GONE, "snapshots", ["is missing, but spectra needs it"]),
    (RANK, "controls.negative", GONE, "controls.negative", ["is missing"]),
    (RANK, "evidence", ["spectrum"], "evidence[0]", ["nearest valid value: spectra"]),
    (RANK, "evidence", ["runs"], "evidence", ["the rule rank reads spectra too"]),
    (RANK, "judged_by", "ranks", "judged_by", ['"ranks"', "nearest valid value: rank"]),
    (RANK, "not_tested", "later", None, ["either `arms`, or `not_tested`"]),
    (RANK, "arms", {}, "arms", ["{} is not allowed"]),
    (RANK, "arms.text.runn", "x", "arms.text.runn", ["unknown key", "nearest valid key: run"]),
    (RANK, "arms.text.run", GONE, "arms.text.run", ["is missing"]),
    (RANK, "arms.text.run", "small-lent-text", "arms.text.run", ["nearest valid value: small-le"]),
    (RANK, "arms.text.trajectory", "x", "arms.text.trajectory", ["does not go with the rule rank"]),
    (RANK, "arms.text.snapshots", [30], "arms.text.run", ["the claim needs [30] too"]),
    (RANK, "rule_parameters.factor", GONE, "rule_parameters.factor", ["is missing", "add the num"]),
    (RANK, "rule_parameters.facter", 2, "rule_parameters.facter", ["no such number", "factor"]),
    (RANK, "rule_parameters.factor", None, "rule_parameters.factor", ["null is not a number"]),
    (RANK, "rule_parameters.factor", True, "rule_parameters.factor", ["true is not a number"]),
    (RANK, "judged_by", GONE, "judged_by", ["papers/<paper>/rank_small_lenet/rule.py; add it"]),
    (LINEAR, "measured_by", "rank", "measured_by", ['"rank" has no file', "rank/measure.py"]),
    (LINEAR, "arms.d3", {"description": "x"}, "arms.d3", ["is no system that the rule", "d2, d4"]),
    (LINEAR, "arms.d2.run", "fc-8", "arms.d2.run", ["reads systems of the theory"]),
    (WELL, "arms.lambda-0", GONE, "arms.lambda-0", ["is missing, and the rule double-well"]),
    ("conservative-force", "paper", [], "paper", ["mean |cos(j, ∇Φ)|"]),
    ("noise-covariance-with-replacement", "paper", [], "paper", ["b tr(cov) / tr(D)"]),
    ("gradient-norm", "paper", [], "paper", ["fall of the gradient norm"]),
    ("diversity-raises-spectrum", "paper.0", GONE, "paper", ["mean eigenvalue on MNIST"]),
    (
        "training-errors",
        "paper.1",
        GONE,
        "paper",
        ["test error of small-lenet", "for the arm "],
    ),
    ("network-currents", "instruments", ["calibrator"], "instruments", ["calibration"]),
]


def changed(claim, key, value):
    entry = copy.deepcopy(CLAIMS[claim])
    *path, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    within = entry
    for part in path:
        within = within[part]
    if value is GONE:
        del within[last]
    else:
        within[last] = value
    return {claim: entry}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Load a ledger and check it against the configuration."""
    monkeypatch.chdir(tmp_path)

    def check(content):
        given = yaml.safe_dump(head(), allow_unicode=True)
        if isinstance(content, str):
            text = "claims:\n" + textwrap.indent(content, "  ") + given
        else:
            text = given + yaml.safe_dump({"claims": content}, allow_unicode=True)
        Path("mine.yaml").write_text(text, encoding="utf-8")
        papers.load(Path(), PAPER_SCHEMA, CONFIG)

    return check


@pytest.mark.parametrize(("claim", "key", "value", "told", "words"), ENTRIES)
def test_an_entry_that_is_refused(check, claim, key, value, told, words):
    start = f"mine.yaml: claims.{claim}{'.' + told if told else ''}: "
    lines = [line for line in refusal(lambda: check(changed(claim, key, value))) if start in line]
    assert lines
    says(lines[0], words)


FILES = [
    ("a: {title: x}\na: {title: y}\n", ["mine.yaml, line 3: the key 'a' stands twice"]),
    ("Rank_small: {}\n", ["Rank_small: is no valid name; write words of small letters"]),
    ("a: 3\n", ["a: 3 is not a mapping", "write {title: ..., group: ..."]),
    ("a:\n\ttitle: x\n", ["mine.yaml, line 3: ", "spaces, not tabs"]),
    (
        "a: {rule_parameters: {level: 1e-2}}\n",
        ["line 2: claims.a.rule_parameters.level: 1e-2"],
    ),
]


@pytest.mark.parametrize(("content", "words"), FILES)
def test_a_file_that_is_refused(check, content, words):
    lines = refusal(lambda: check(content))
    says("\n".join(lines), words)


def test_every_rule_says_what_it_reads():
    for claim in folders.with_file("rule"):
        assert folders.declared(claim, "rule")["PARAMETERS"], claim


def test_the_ledger_itself_is_right(check):
    check(CLAIMS)
