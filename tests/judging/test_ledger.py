import copy
import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from helpers import PAPER_SCHEMA, PAPERS, config, head
from helpers import claims as real

from limitcycles.configuration.yamlfile import ConfigError
from limitcycles.diffusion import curvature
from limitcycles.judging import folders, ledger, papers
from limitcycles.theory import linear_theory

ROOT = Path(__file__).parents[2]

LEVELS = {"autocorrelation": 0.99}  # of the paper's bands; elsewhere 0.95


@pytest.fixture(scope="module")
def claims():
    return real()


@pytest.fixture
def entry(claims):
    return copy.deepcopy(claims["rank-small-lenet"])


@pytest.fixture
def errors(tmp_path):
    """Load a ledger given as a dict; returns the lines of the error."""

    def lines(content):
        path = tmp_path / "mine.yaml"
        text = yaml.safe_dump(head() | {"claims": content}, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            papers.load(tmp_path, PAPER_SCHEMA, config())
        start = f"{path}: claims."
        assert all(line.startswith(start) for line in str(caught.value).splitlines())
        return [line.removeprefix(start) for line in str(caught.value).splitlines()]

    return lines


def test_claims_stand_in_the_order_of_the_sections(claims):
    groups = [entry["group"] for entry in claims.values()]
    assert groups == sorted(groups, key=list(head()["sections"]).index)


def test_rule_and_controls_stand_before_the_run_for_every_claim(claims):
    for claim, entry in claims.items():
        assert entry["rule_parameters"], claim
        assert "eproduced" in entry["rule"], claim
        assert {"positive", "negative"} == set(entry["controls"]), claim
        if not ledger.is_tested(entry):
            assert entry["not_tested"].startswith("Needs "), claim


def test_the_reason_of_an_untested_claim_names_only_what_is_there(claims):
    for claim, entry in claims.items():
        if ledger.is_tested(entry):
            continue
        assert "Needs a rule" in entry["not_tested"], claim
        assert not folders.has(claim, "rule")
        for module in re.findall(r"limitcycles(?:\.\w+)+", entry["not_tested"]):
            assert importlib.util.find_spec(module), (claim, module)
        for file in re.findall(r"config/\S+\.yaml", entry["not_tested"]):
            assert (ROOT / file).is_file(), (claim, file)
    # The Hessian is there, and so is what else the reason says.
    assert "limitcycles.diffusion.curvature" in claims["network-potential-differs"]["not_tested"]
    assert callable(curvature.hessian)
    assert callable(linear_theory.decompose)


def test_no_grid_of_batch_sizes_is_configured():
    """What the reasons of linear-scaling and replacement-regularises say."""
    training = [run["training"] for run in config()["runs"].values()]
    assert not any({"batch_size", "sampler"} & set(its) for its in training)


def test_every_rule_says_its_numbers(claims):
    """A number that decides may not stand in `rule_parameters` alone."""
    for claim, entry in claims.items():
        words = " ".join([entry["rule"], entry["statistic"], *entry["controls"].values()])
        said = {abs(float(n)) for n in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", words)}
        for name, value in entry["rule_parameters"].items():
            assert {value, round(100 * value, 6)} & said, (claim, name, value)


def test_tested_claims_have_arms_and_intervals_of_95_percent(claims):
    for claim, entry in claims.items():
        if ledger.is_tested(entry):
            assert entry["rule_parameters"].get("level", 0.95) == LEVELS.get(claim, 0.95), claim
            assert entry["arms"], claim


def test_each_entry_has_its_folder_and_each_folder_its_entry(claims):
    tested = {claim: entry for claim, entry in claims.items() if ledger.is_tested(entry)}
    rules = {ledger.rule_of(claim, entry) for claim, entry in tested.items()}
    instruments = {name for entry in claims.values() for name in entry.get("instruments", ())}
    assert set(folders.known()) == rules | instruments
    assert set(folders.with_file("measure")) == set(ledger.measured(claims))


def test_counts_stay_whole_numbers(claims):
    counts = claims["spectrum-ranks-architectures"]["rule_parameters"]["permutations"]
    assert isinstance(counts, int)


@pytest.mark.parametrize("evidence", [["spectra"], ["spectra", "sample"]])
def test_what_is_read_at_snapshots_needs_them(entry, errors, evidence):
    del entry["snapshots"]
    (line,) = errors({"rank-small-lenet": entry | {"evidence": evidence}})
    needing = "spectra needs" if evidence == ["spectra"] else "sample and spectra need"
    where = "rank-small-lenet.snapshots"
    assert line == f"{where}: is missing, but {needing} it; add the percents"


def test_a_measurement_of_runs_needs_snapshots(claims, errors):
    entry = copy.deepcopy(claims["temperature-tracks-mean-eigenvalue"])
    del entry["snapshots"]
    (line,) = errors({"temperature-tracks-mean-eigenvalue": entry})
    assert "snapshots: is missing, but the measurement temperature-tracks-mean-eigenvalue" in line


def test_all_arms_are_of_one_kind(claims, errors):
    entry = copy.deepcopy(claims["temperature-tracks-mean-eigenvalue"])
    arm = entry["arms"]["fc-8"]
    arm["trajectory"] = arm.pop("run")
    lines = errors({"temperature-tracks-mean-eigenvalue": entry})
    where = "temperature-tracks-mean-eigenvalue.arms.fc-8"
    reader = "the rule temperature-tracks-mean-eigenvalue"
    assert lines == [
        f"{where}.run: is missing, and {reader} reads it",
        f"{where}.trajectory: does not go with {reader}, which reads arms with run; leave it out",
    ]


def test_arms_that_a_rule_reads_by_name_are_listed_and_are_there(claims, errors):
    entry = copy.deepcopy(claims["network-currents"])
    del entry["deciding"]
    entry["enough"] = ["plain", "plain-fw"]
    entry["pairs"] = [["plain", "text"]]
    where, reader = "network-currents", "the rule network-currents"
    assert errors({where: entry}) == [
        f"{where}.deciding: is missing, and {reader} reads it; add the arms",
        f'{where}.enough: "plain-fw" is no arm of the claim; nearest valid value: plain-few',
        f"{where}.pairs: is not read by {reader}; leave it out",
    ]
    entry = copy.deepcopy(claims["network-currents"])
    entry["enough"] = ["plain", "full-batch"]
    assert errors({where: entry}) == [
        f'{where}.enough: "full-batch" is none of the arms that decide; valid values: '
        "code, plain, plain-few, text"
    ]
    entry = copy.deepcopy(claims["diversity-raises-spectrum"])
    entry["pairs"][1][1] = "cifar1000"
    entry["arms"]["mnist"]["paper"] = "mean eigenvalue on MNST"
    pairs, paper = errors({"diversity-raises-spectrum": entry})
    assert 'pairs: "cifar1000" is no arm of the claim' in pairs
    assert 'no number with the name "mean eigenvalue on MNST", which the arm mnist reads' in paper


@pytest.mark.parametrize("scale", ["quick", "laptop", "paper"])
def test_a_run_that_is_left_out_still_has_to_fit_its_claims(scale):
    """So that a seed given on the command line is enough to run it."""
    runs = {"allcnn-100-code": {"seeds": [], "training": {"snapshots": [0, 100]}}}
    with pytest.raises(ConfigError, match=r"rank-cifar100\.arms\.code.* needs \[20, 40\] too"):
        papers.load(PAPERS, PAPER_SCHEMA, config(scale, runs=runs))


def test_arms_and_snapshots_of_the_paper(claims):
    arms = {claim: list(claims[claim]["arms"]) for claim in claims if "arms" in claims[claim]}
    assert arms["rank-small-lenet"] == ["text", "code"]
    assert arms["rank-small-fc"] == ["text", "code", "code-all-digits"]
    for claim in ("rank-cifar10", "rank-cifar100", "rank-cifar10-augmented"):
        assert arms[claim] == ["text", "code"]
        assert claims[claim]["snapshots"] == [20, 40, 100]
    assert len(arms["spectrum-ranks-architectures"]) == 20
    assert claims["rank-small-fc"]["arms"]["code"]["run"] == "small-fc-code"
    assert claims["noise-independent-of-weights"]["snapshots"] == [20, 40, 100]
    assert claims["spectrum-ranks-architectures"]["snapshots"] == [0, 100]
    assert claims["rank-small-lenet"]["snapshots"] == [20, 40, 100]
    assert arms["training-errors"] == ["text", "code", "allcnn-text", "allcnn-code"]
    assert not [claim for claim in claims if "partial" in claims[claim]]


@pytest.mark.parametrize(
    ("claim", "numbers"),
    [
        ("rank-small-lenet", [1.8, 0.3e-3, 2.11e-3]),
        ("rank-small-fc", [0.6, 0.9e-3, 18.5e-3]),
        ("rank-cifar10", [0.34, 0.27, 0.84]),
        ("rank-cifar100", [0.47, 0.98, 2.16]),
        ("rank-cifar10-augmented", [0.32, 0.43, 1.32]),
        ("training-errors", [0.75, 0.75, 11, 17]),
        ("gradient-norm", [3, 1e5]),
    ],
)
def test_numbers_of_the_paper(claims, claim, numbers):
    paper = claims[claim]["paper"]
    assert [number["value"] for number in paper] == numbers
    if claim.startswith("rank-"):
        assert [n["name"] for n in paper] == ["rank", "mean eigenvalue", "std of eigenvalues"]


@pytest.mark.parametrize("scale", ["quick", "laptop", "paper"])
def test_every_arm_has_its_run_at_every_scale(scale):
    papers.load(PAPERS, PAPER_SCHEMA, config(scale))


def test_arm_whose_run_lacks_a_snapshot():
    settings_ = config(runs={"small-fc-text": {"training": {"snapshots": ["0", "40", "100"]}}})
    with pytest.raises(ConfigError) as caught:
        papers.load(PAPERS, PAPER_SCHEMA, settings_)
    keys = ("rank-small-fc.arms.text.run", "noise-independent-of-weights.arms.fc-text.run")
    assert str(caught.value).splitlines() == [
        f'{PAPERS}/chaudhari2018.yaml: claims.{key}: the run "small-fc-text" keeps the '
        "snapshots [0, 40, 100], the claim needs [20] too; add them to training.snapshots"
        for key in keys
    ]


def test_a_measurement_of_plain_images_takes_no_run_with_augmentation():
    shifts = {"cnn-12": {"training": {"augmentation": {"flip": True}}}}
    with pytest.raises(ConfigError, match=r"cnn-12. has training.augmentation, and the me"):
        papers.load(PAPERS, PAPER_SCHEMA, config(runs=shifts))
