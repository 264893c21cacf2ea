"""A changed source file runs exactly the jobs again that depend on it."""

import os
import re
import shutil

import pytest
from checkout import ROOT

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


@pytest.mark.parametrize(
    ("name", "changed", "others"),
    [
        (
            "studies/jko_flow.py",
            {"Compute": 1},
            {"Judge": 1, "Draw": 1, "Collect": 1, "Write": 1, "Everything": 1},
        ),
        ("charts/rank.py", {"Draw": 30}, {"Write": 1, "Everything": 1}),
        (
            "templates/report.css",
            {"Put": 1, "Collect": 1},
            {"Draw": 30, "Write": 1, "Everything": 1},
        ),
        ("claims/noise.py", {"Judge": 30}, {"Draw": 30, "Collect": 1, "Write": 1, "Everything": 1}),
    ],
)
def test_a_changed_source_runs_what_depends_on_it(quick, changed_source, name, changed, others):
    jobs = planned(quick, *QUICK, env=changed_source(name))
    found = {True: {}, False: {}}
    for message, reason in jobs.items():
        counts = found["Params have changed" in reason]
        kind = message.split()[0]
        counts[kind] = counts.get(kind, 0) + 1
    assert found[True] == changed
    assert found[False] == others


def test_a_copy_that_is_the_same_runs_nothing(quick, changed_source):
    environment = changed_source("studies/jko_flow.py")
    file = f"{environment['PYTHONPATH']}/limitcycles/studies/jko_flow.py"
    shutil.copy(ROOT / "src/limitcycles/studies/jko_flow.py", file)
    assert planned(quick, *QUICK, env=environment) == {}


OWN = {
    "net.py": "from torch import nn\n\n\ndef build(inputs):\n"
    "    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10))\n",
    "pictures.py": "import numpy as np\n\n\ndef load():\n"
    "    images, labels = np.random.default_rng(0).random((20, 7, 7)), np.arange(20) % 5\n"
    "    return images, labels, images, labels\n",
    "mine.yaml": "networks: {mine: {builder: 'net:build', options: {inputs: 49}}}\n"
    "datasets: {mine: {source: 'pictures:load'}}\n"
    "runs: {mine: {network: mine, dataset: digits-7x7}, ours: {network: tiny-fc, dataset: mine}}\n",
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
        ("pictures.py", {"Prepare the dataset mine.", "Train ours, seed 0."}),
    ):
        file = workflow.folder / name
        file.write_text(OWN[name] + "\n")
        assert planned(workflow, *arguments).keys() == jobs
        file.write_text(OWN[name])
        assert planned(workflow, *arguments) == {}
