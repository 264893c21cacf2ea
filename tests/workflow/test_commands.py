"""What a person types, right or wrong: targets, dry runs, lint, misspelt keys, bad input."""

import re
import subprocess
import sys

import pytest
from checkout import ROOT, Workflow
from helpers import claims

pytestmark = pytest.mark.workflow
CLAIMS = claims()


def test_dry_run_of_the_default_scale_is_clean(workflow):
    finished = workflow.run("-n")
    assert finished.returncode == 0, finished.stdout
    assert "scale" not in finished.stdout.lower().split("building dag")[0].replace("scale=", "")
    assert "warning" not in finished.stdout.lower()


def test_lint_is_clean(workflow):
    finished = workflow.run("--lint")
    assert finished.returncode == 0, finished.stdout
    assert "Congratulations" in finished.stdout


@pytest.mark.parametrize(
    "target",
    [
        *("chaudhari2018", "figure_1", "figure_2", "figure_3", "theory"),
        *("calibration", "claims", "data"),
        *(f"claim_{claim.replace('-', '_')}" for claim in CLAIMS),
    ],
)
def test_every_target_is_known(workflow_once, target):
    assert target in workflow_once


@pytest.fixture(scope="module")
def workflow_once(tmp_path_factory):
    listed = Workflow(tmp_path_factory.mktemp("list")).run("--list-rules")
    return listed.stdout.split()


def test_a_single_claim_needs_only_its_own_runs(workflow):
    finished = workflow.run("claim_rank_small_fc", "-n", "--config", "scale=quick")
    assert finished.returncode == 0
    assert "Train small-fc-text, seed 0." in finished.stdout
    assert "small-lenet" not in finished.stdout


@pytest.mark.parametrize(
    ("device", "trajectory", "jobs"),
    [
        ("cuda", "few-heavy-ball", ["0-1"]),
        ("cuda", "few-gaussian", ["0", "1"]),
        ("auto", "few-heavy-ball", ["0", "1"]),
    ],
)
def test_seeds_of_a_trajectory_share_a_job_on_a_gpu(workflow, device, trajectory, jobs):
    targets = [f"results/laptop/measurements/autocorrelation/{trajectory}/seed{i}" for i in (0, 1)]
    finished = workflow.run("-n", *targets, "--config", "scale=laptop", f"device={device}")
    assert finished.returncode == 0, finished.stdout
    trained = re.findall(rf"Train {trajectory}, seed ([\d-]+), and keep", finished.stdout)
    assert sorted(set(trained)) == jobs


def test_the_readme_shows_the_rulegraph_as_it_is(workflow):
    finished = subprocess.run(
        workflow.command("--rulegraph", "mermaid-js", "--config", "scale=quick"),
        cwd=workflow.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", finished.stdout))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", finished.stdout)}
    shown = (ROOT / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    assert set(re.findall(r"(\w+) --> (\w+)", shown)) == edges


def test_a_coupled_network_is_refused_with_a_sentence(workflow):
    (workflow.folder / "coupled.py").write_text(
        "from torch import nn\n\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(49, 10),\n"
        "        nn.BatchNorm1d(10, track_running_stats=False))\n"
    )
    (workflow.folder / "mine.yaml").write_text(
        "seeds: [0]\n"
        "networks:\n  coupled: {builder: 'coupled:build'}\n"
        "runs:\n  coupled: {network: coupled, dataset: digits-7x7, training: {epochs: 2,"
        " snapshots: [0, 100]}}\n"
    )
    target = "results/quick/spectra/coupled/seed0/0-100"
    finished = workflow.run(target, "--configfile", "mine.yaml", "--config", "scale=quick")
    assert finished.returncode != 0
    assert "couples the examples of a batch" in finished.stdout
    run = workflow.folder / "results/quick/runs/coupled/seed0.zarr.zip"
    assert not run.exists()  # before anything is trained


def test_a_damaged_store_is_named(workflow):
    store = workflow.folder / "results/quick/data/digits-7x7.zarr.zip"
    arguments = ("--config", "scale=quick", "seeds=[0]", "training={epochs: 5}")
    assert workflow.run(store.relative_to(workflow.folder), *arguments).returncode == 0
    store.write_bytes(store.read_bytes()[:5000])
    target = "results/quick/runs/small-fc-text/seed0.zarr.zip"
    finished = workflow.run(target, *arguments, "--rerun-triggers", "mtime")
    assert finished.returncode != 0
    assert "digits-7x7.zarr.zip" in finished.stdout
    assert "Delete it" in finished.stdout


def test_the_library_never_imports_snakemake():
    program = (
        "import pkgutil, importlib, sys, limitcycles\n"
        "for m in pkgutil.walk_packages(limitcycles.__path__, 'limitcycles.'):\n"
        "    importlib.import_module(m.name)\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'snakemake']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
