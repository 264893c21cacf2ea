"""A paper is a folder and a file: a toy one, with a claim of each kind of evidence, is added to a
copy of the checkout in which everything is done already, and nothing else is touched."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from checkout import ROOT, Workflow

pytestmark = pytest.mark.workflow

TOY = ROOT / "tests/toy_paper"
CLAIMS = ("toy-dice", "toy-rank", "toy-error", "toy-epochs", "toy-steps")
CHARTS = {
    "toy-dice": "throws",
    "toy-rank": "ranks",
    "toy-error": "errors",
    "toy-epochs": "distances",
    "toy-steps": "traces",
}
# What a new paper needs that is not there: its measurements and claims, the page and the table.
JOBS = {"measure": 3, "claim": len(CLAIMS), "ledger": 1, "page": 1}


@pytest.fixture(scope="module")
def house(quick, tmp_path_factory):
    """The finished workflow, and the library beside it, with the toy paper in both."""
    folder = tmp_path_factory.mktemp("house") / "copy"
    shutil.copytree(quick.folder, folder, ignore=shutil.ignore_patterns("cache", "report.html"))
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for path in TOY.rglob("*"):
        there = folder / path.relative_to(TOY)
        if path.is_dir():
            there.mkdir(exist_ok=True)
        elif path.suffix in (".py", ".yaml"):
            assert not there.exists()  # nothing that is there is edited
            shutil.copy2(path, there)
    return folder


@pytest.fixture(scope="module")
def called(house):
    """Call snakemake there, with the library beside it."""
    workflow = Workflow.__new__(Workflow)
    workflow.folder = house
    own = os.environ | {"PYTHONPATH": str(house / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

    def call(*arguments):
        finished = workflow.run(*arguments, "--config", "scale=quick", env=own)
        assert finished.returncode == 0, finished.stdout[-4000:]
        return finished.stdout

    return call


def jobs(said: str) -> dict[str, int]:
    """The jobs that snakemake lists, by rule."""
    if "Nothing to be done" in said:
        return {}
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", said, re.MULTILINE | re.DOTALL)
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)}


@pytest.mark.parametrize(
    ("target", "claims"),
    [("toy", CLAIMS), ("toy_figure", CLAIMS[1:3]), ("claim_toy_dice", CLAIMS[:1])],
)
def test_targets_follow_from_the_paper(called, target, claims):
    said = called("--dry-run", target)
    assert jobs(said)["claim"] == len(claims)
    for claim in claims:
        assert f"claims/{claim}.json" in said


def test_only_what_is_new_is_done_and_the_page_has_it(called, house, quick):
    said = called()
    done = jobs(said)
    assert {name: done[name] for name in JOBS} == JOBS
    assert set(done) <= {*JOBS, "all"}
    results = house / "results/quick"
    for claim in CLAIMS:
        result = json.loads((results / f"claims/{claim}.json").read_text())
        assert result["verdict"].startswith("reproduced"), result
        assert all(control["passed"] for control in result["controls"])
        chart = results / f"figures/{claim}/{CHARTS[claim]}"
        assert {p.suffix for p in chart.parent.glob(f"{chart.name}.*")} == {
            ".json",
            ".html",
            ".svg",
        }
    with open(results / "claims.csv", newline="") as file:
        assert set(CLAIMS) < {row["claim"] for row in csv.DictReader(file)}
    page = (results / "report/claims.html").read_text()
    for text in ("Toys", "Nobody", *CLAIMS, "A die is fair", "Larger networks have more noise"):
        assert text in page
    before = {p.name: p.read_bytes() for p in (quick.folder / "results/quick/claims").iterdir()}
    assert {p.name: p.read_bytes() for p in (results / "claims").iterdir()}.items() > before.items()


def test_a_claim_depends_on_its_own_folder_and_no_other(called, house):
    """A caption, a rule and a measurement are edited, one after the other."""
    toys = house / "src/limitcycles/papers/toy"

    def edited(path: Path, old: str, new: str) -> dict[str, int]:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        done = jobs(called())
        done.pop("all", None)
        return done

    again = {"claim": 1, "ledger": 1, "page": 1}
    assert edited(toys / "toy_dice/charts.py", "throws of a die.", "throws.") == again
    assert "300 throws." not in (house / "results/quick/report/claims.html").read_text()
    assert edited(toys / "toy_rank/rule.py", '"planted"', '"a planted one"') == again
    assert edited(toys / "toy_steps/measure.py", '"trace": ("run"', '"trace": ("run"') == {}
    changed = edited(toys / "toy_dice/measure.py", "the faces, by throw", "the faces")
    assert changed == again | {"measure": 1}
