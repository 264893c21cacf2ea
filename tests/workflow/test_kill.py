"""SIGKILL of the whole workflow, scheduler and jobs: the same bits after a resume."""

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from checkout import Workflow

pytestmark = pytest.mark.workflow

CASES = {
    "results/quick/runs/small-lenet-text/seed0.zarr.zip": (
        "runs={small-lenet-text: {training: {epochs: 15, checkpoint_seconds: 0.5}}}"
    ),
    "results/quick/trajectories/all-nesterov/0": (
        "trajectories={all-nesterov: {training: {epochs: 30000}}}"
    ),
}


def contents(path: Path) -> dict[str, str]:
    """Digest of each file at or below a path; short, so that a difference is soon printed."""
    files = [p for p in [path, *sorted(path.rglob("*"))] if p.is_file()]
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()[:12] for p in files
    }


@pytest.mark.parametrize("target", CASES)
def test_a_killed_workflow_resumes_to_the_same_bits(tmp_path_factory, target):
    arguments = (target, "--config", "scale=quick", CASES[target])
    whole = Workflow(tmp_path_factory.mktemp("whole"))
    assert whole.run(*arguments).returncode == 0

    killed = Workflow(tmp_path_factory.mktemp("killed"))
    process = killed.start(*arguments)
    deadline = time.monotonic() + 300
    while not list((killed.folder / "state").rglob("checkpoint-*.pt")):
        assert process.poll() is None, "it finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed.folder / target).exists()
    checkpoint = next((killed.folder / "state").rglob("checkpoint-*.pt"))

    locked = killed.run(*arguments)
    assert locked.returncode != 0
    assert "unlock" in locked.stdout.lower()
    assert killed.run("--unlock", *arguments[1:]).returncode == 0
    assert checkpoint.exists()
    assert killed.run(*arguments).returncode == 0
    assert contents(killed.folder / target) == contents(whole.folder / target) != {}
    assert not checkpoint.exists()  # the result is safe: the state is no longer needed
