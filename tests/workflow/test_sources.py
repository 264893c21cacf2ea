"""A changed source file runs exactly the jobs again that depend on it."""

import os
import re
import shutil

import pytest
from checkout import ROOT

from limitcycles.judging import folders

pytestmark = pytest.mark.workflow
QUICK = ("--config", "scale=quick")


def planned(workflow, *arguments, **options):
    """What a dry run would do: message of each job -> why."""
    finished = workflow.run("-n", *arguments, **options)
    assert finished.returncode == 0, finished.stdout
    return dict(re.findall(r"^Job \d+: (.*)\nReason: (.*)$", finished.stdout, re.MULTILINE))


@pytest.fixture
def changed_source(tmp_path):
    """A copy of the library with one more line in a file; the environment that sees the copy."""

    def change(name):
        copy = tmp_path / "src" / "limitcycles"
        shutil.copytree(ROOT / "src" / "limitcycles", copy)
        with open(copy / name, "a") as file:
            file.write("\n")
        return os.environ | {"PYTHONPATH": str(copy.parent)}

    return change


PAPER = "papers/chaudhari2018"
AFTER = {"Collect": 1, "Write": 1, "Everything": 1}  # the table and the page


@pytest.mark.parametrize(
    ("name", "changed", "others"),
    [
        (f"{PAPER}/jko_flow/measure.py", {"Measure": 1}, {"Judge": 1} | AFTER),
        (f"{PAPER}/jko_flow/rule.py", {"Judge": 1}, AFTER),
        (f"{PAPER}/jko_flow/charts.py", {"Judge": 1}, AFTER),
        (f"{PAPER}/rank/charts.py", {"Judge": 5}, AFTER),  # five claims share it
        (f"{PAPER}/calibration/charts.py", {"Judge": 1}, AFTER),  # with network-currents
        ("report/templates/report.css", {"Collect": 1, "Write": 1}, {"Everything": 1}),
        ("judging/result.py", {"Judge": 30, "Note": 1}, AFTER),
    ],
)
def test_a_changed_source_runs_what_depends_on_it(quick, changed_source, name, changed, others):
    jobs = planned(quick, *QUICK, env=changed_source(name))
    found = {True: {}, False: {}}
    for message, reason in jobs.items():
        counts = found["Params have changed" in reason or "Code has changed" in reason]
        kind = message.split()[0]
        counts[kind] = counts.get(kind, 0) + 1
    assert found[True] == changed
    assert found[False] == others


def test_a_changed_setting_measures_anew_only_what_reads_it(quick):
    jobs = planned(quick, "--config", "scale=quick", "theory={paths: 2100}")
    measured = {message.split()[1].partition("/")[0] for message in jobs if "Measure" in message}
    assert measured == {
        claim
        for claim in folders.with_file("measure")
        if "theory.paths" in folders.declared(claim, "measure")["READS"]
    }
    assert "double-well" in measured
    assert "jko-flow" not in measured


def test_a_copy_that_is_the_same_runs_nothing(quick, changed_source):
    name = f"{PAPER}/jko_flow/measure.py"
    environment = changed_source(name)
    file = f"{environment['PYTHONPATH']}/limitcycles/{name}"
    shutil.copy(ROOT / "src/limitcycles" / name, file)
    assert planned(quick, *QUICK, env=environment) == {}


OWN = {
    "net.py": "from torch import nn\n\n\ndef build(inputs):\n"
    "    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10))\n",
    "pictures.py": "import numpy as np\n\n\ndef load():\n"
    "    images, labels = np.random.default_rng(0).random((20, 7, 7)), np.arange(20) % 5\n"
    "    return images, labels, images, labels\n",
    "moves.py": "from limitcycles.training.optimisers.sgd import Optimiser\n",
    "mine.yaml": "networks: {mine: {builder: 'net:build', options: {inputs: 49}}}\n"
    "optimisers: {mine: {kind: 'moves:Optimiser', options: {momentum: 0.5}}}\n"
    "datasets: {mine: {source: 'pictures:load'}}\n"
    "runs: {mine: {network: mine, dataset: digits-7x7, training: {optimiser: mine}}, "
    "ours: {network: tiny-fc, dataset: mine}}\n",
}
EPOCHS = "training={epochs: 5, batch_size: 10}"


def test_a_changed_file_of_the_user_runs_what_depends_on_it(workflow):
    for name, content in OWN.items():
        (workflow.folder / name).write_text(content)
    targets = [f"results/quick/runs/{run}/seed0.zarr.zip" for run in ("mine", "ours")]
    arguments = (*targets, "--configfile", "mine.yaml", "--config", EPOCHS, "scale=quick")
    finished = workflow.run(*arguments)
    assert finished.returncode == 0, finished.stdout
    assert planned(workflow, *arguments) == {}
    for name, jobs in (
        ("net.py", {"Train mine, seed 0."}),
        ("moves.py", {"Train mine, seed 0."}),
        ("pictures.py", {"Prepare the dataset mine.", "Train ours, seed 0."}),
    ):
        file = workflow.folder / name
        file.write_text(OWN[name] + "\n")
        assert planned(workflow, *arguments).keys() == jobs
        file.write_text(OWN[name])
        assert planned(workflow, *arguments) == {}
