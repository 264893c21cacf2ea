"""SIGKILL of the whole workflow, or of Snakemake alone: the same bits after a resume."""

import hashlib
import os
import signal
import time
from pathlib import Path

import psutil
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


LIMIT = 300  # seconds


def wait_for(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def children(process):
    """All processes below one, dead or alive."""
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


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


@pytest.mark.parametrize("target", CASES)
def test_jobs_end_with_a_killed_snakemake(tmp_path_factory, target):
    arguments = (target, "--config", "scale=quick", CASES[target])
    whole = Workflow(tmp_path_factory.mktemp("whole"))
    assert whole.run(*arguments).returncode == 0

    killed = Workflow(tmp_path_factory.mktemp("killed"))
    process = killed.start(*arguments)
    wait_for(lambda: list((killed.folder / "state").rglob("checkpoint-*.pt")), "no checkpoint")
    jobs = children(process)
    assert jobs
    os.kill(process.pid, signal.SIGKILL)  # it alone, not its group
    process.wait()
    assert killed.run("--unlock", *arguments[1:]).returncode == 0
    # At once: the old job may still be saving, and the new one waits for it.
    resumed = killed.run(*arguments)
    assert resumed.returncode == 0, resumed.stdout
    assert alive(jobs) == []
    assert "continued at epoch" in resumed.stdout
    assert contents(killed.folder / target) == contents(whole.folder / target) != {}
    assert not [p for p in (killed.folder / "state").rglob("*") if p.is_file()]


def test_no_child_survives(workflow):
    """Not even one that is still importing."""
    target = "results/quick/trajectories/all-nesterov/0"
    process = workflow.start(target, "--config", "scale=quick", CASES[target])
    scripts = workflow.folder / ".snakemake" / "scripts"
    for script in ("dataset", "trajectory"):
        wait_for(lambda kind=script: list(scripts.glob(f"*.{kind}.py")), f"no {script}")
    wait_for(lambda: children(process), "no job")
    jobs = children(process)
    process.kill()
    process.wait()
    wait_for(lambda: not alive(jobs), "it goes on")
