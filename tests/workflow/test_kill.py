"""SIGKILL of the whole workflow, scheduler and jobs: the same bits after a resume."""

import os
import signal
import time

import pytest
from checkout import Workflow

pytestmark = pytest.mark.workflow

TARGET = "results/quick/runs/small-lenet-text/seed0.zarr.zip"
ARGUMENTS = (
    TARGET,
    "--config",
    "scale=quick",
    "runs={small-lenet-text: {training: {epochs: 15, checkpoint_seconds: 0.5}}}",
)


def test_a_killed_workflow_resumes_to_the_same_bits(tmp_path_factory):
    whole = Workflow(tmp_path_factory.mktemp("whole"))
    assert whole.run(*ARGUMENTS).returncode == 0

    killed = Workflow(tmp_path_factory.mktemp("killed"))
    process = killed.start(*ARGUMENTS)
    deadline = time.monotonic() + 300
    while not list((killed.folder / "state").rglob("checkpoint-*.pt")):
        assert process.poll() is None, "it finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed.folder / TARGET).exists()
    checkpoint = next((killed.folder / "state").rglob("checkpoint-*.pt"))

    locked = killed.run(*ARGUMENTS)
    assert locked.returncode != 0
    assert "unlock" in locked.stdout.lower()
    assert killed.run("--unlock", *ARGUMENTS[1:]).returncode == 0
    assert checkpoint.exists()
    assert killed.run(*ARGUMENTS).returncode == 0
    assert (killed.folder / TARGET).read_bytes() == (whole.folder / TARGET).read_bytes()
    assert not checkpoint.exists()  # the result is safe: the state is no longer needed
