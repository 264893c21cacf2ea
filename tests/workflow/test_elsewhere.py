"""Run from another folder (-d), and as a module of another workflow: all is found, all is told."""

import subprocess
import sys

import pytest
import xarray as xr

pytestmark = pytest.mark.workflow

RUN = "results/quick/runs/mine/seed0.zarr.zip"
CHARTS = "results/quick/figures/jko-flow"
NETWORK = (
    "from torch import nn\n\n\n"
    "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(49, 10))\n"
)
CONFIG = (
    "scale: quick\nseeds: [0]\n"
    "networks: {mine: {builder: 'net:build', weights: 500}}\n"
    "runs: {mine: {network: mine, dataset: digits-7x7, training: {epochs: 5}}}\n"
)
USER = """
configfile: {config!r}


module limitcycles:
    snakefile:
        {snakefile!r}
    config:
        config["limitcycles"]


use rule * from limitcycles as lc_*


rule mine:
    input:
        {run!r},
        {charts!r},
    output:
        "mine.txt",
    shell:
        "echo made > {{output}}"


onstart:
    limitcycles.lift_rate_limit()


onsuccess:
    limitcycles.forget_checkpoints()
"""


def snakemake(folder, *arguments):
    finished = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout


def assert_made(folder):
    run = xr.open_zarr(f"zip::{folder / RUN}")
    assert run.sizes == {**run.sizes, "weight": 500, "epoch_end": 6}
    assert list((folder / CHARTS).glob("*.svg"))
    assert not list((folder / "state").rglob("*.*"))  # checkpoints are forgotten, locks are gone


def test_from_another_folder(workflow):
    """With a configuration and a network there, over ours."""
    there = workflow.folder / "elsewhere"
    (there / "config").mkdir(parents=True)
    (there / "config" / "config.yaml").write_text(CONFIG)
    (there / "net.py").write_text(NETWORK)
    code, said = snakemake(workflow.folder, "-d", there, RUN, CHARTS)
    assert code == 0, said
    assert_made(there)
    assert not (workflow.folder / "results").exists()
    code, said = snakemake(workflow.folder, "-d", there, "--report", "report.html", CHARTS)
    assert code == 0, said
    code, said = snakemake(there, "-s", workflow.folder / "Snakefile", "-n", RUN, CHARTS)
    assert code == 0, said
    assert "Nothing to be done" in said
    (there / "config" / "config.yaml").write_text("training: {epoks: 3}")
    code, said = snakemake(workflow.folder, "-d", there, "-n", "--config", "scale=quick")
    assert code == 1
    assert "config/config.yaml: training.epoks: unknown key" in said
    assert "Traceback" not in said


def test_as_a_module_of_another_workflow(workflow, tmp_path):
    """With a network beside the Snakefile of that one, which is run from a third folder."""
    theirs, there = tmp_path / "theirs", tmp_path / "there"
    for folder in (theirs, there):
        folder.mkdir()
    parts = {
        "config": str(theirs / "config.yaml"),
        "snakefile": str(workflow.folder / "Snakefile"),
        "run": RUN,
        "charts": CHARTS,
    }
    (theirs / "Snakefile").write_text(USER.format(**parts))
    indented = "".join(f"  {line}\n" for line in CONFIG.splitlines())
    (theirs / "config.yaml").write_text(f"its_own: key\nlimitcycles:\n{indented}")
    (theirs / "net.py").write_text(NETWORK)
    arguments = ("-s", theirs / "Snakefile", "-d", there, "-c2")
    code, said = snakemake(tmp_path, *arguments, "mine")
    assert code == 0, said
    assert_made(there)
    code, said = snakemake(tmp_path, *arguments, "--report", "report.html", "mine")
    assert code == 0, said
    wrong = ("--config", "limitcycles={training: {epoks: 3}}")
    code, said = snakemake(tmp_path, *arguments, "-n", "mine", *wrong)
    assert code == 1
    assert "config of the module: training.epoks: unknown key" in said
    assert "Traceback" not in said
