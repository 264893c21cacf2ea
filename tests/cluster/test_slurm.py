"""A part of the quick scale on a real Slurm of virtual nodes, with a cancelled job and a lost node.

profiles/slurm is used as the README says, with a profile of a site beside it.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from checkout import Workflow

sys.path.append(str(Path(__file__).parent))
import virtual_slurm

pytestmark = pytest.mark.cluster

RUN = "results/quick/runs/small-lenet-text/seed0.zarr.zip"
SPECTRUM = "results/quick/spectra/fc-8/seed0/0-100"
TRAJECTORY = "results/quick/trajectories/all-nesterov/0"
ARGUMENTS = (
    RUN, SPECTRUM, TRAJECTORY, "--config", "scale=quick",
    "runs={small-lenet-text: {training: {epochs: 15}}}",
    "trajectories={all-nesterov: {training: {epochs: 60000}}}",
)  # fmt: skip
SITE = """
jobs: 6
default-resources:
  slurm_partition: other
slurm-init-seconds-before-status-checks: 2
slurm-no-account: true
"""


@pytest.fixture
def cluster(tmp_path):
    missing = [name for name in virtual_slurm.PROGRAMS if shutil.which(name) is None]
    reason = None
    if os.geteuid() != 0:
        reason = "only root can start the daemons of Slurm"
    elif missing:
        reason = f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    elif virtual_slurm.DEFAULT.exists():
        reason = f"{virtual_slurm.DEFAULT} belongs to another cluster"
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder = tmp_path / "slurm"
    folder.mkdir()
    with virtual_slurm.Cluster(folder, nodes=3, cpus=2, mib=6000) as started:
        yield started


def contents(path: Path) -> dict[str, str]:
    """Digest of each file at or below a path; short, so that a difference is soon printed."""
    files = [p for p in [path, *sorted(path.rglob("*"))] if p.is_file()]
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()[:12] for p in files
    }


def text(log: Path) -> str:
    """What a log says; Snakemake deletes that of a job before it is tried again."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


class Started:
    """A call of snakemake whose messages go to a file."""

    def __init__(self, workflow: Workflow, *arguments, env):
        self.folder, self.log = workflow.folder, workflow.folder / "messages"
        with open(self.log, "w") as file:
            self.process = subprocess.Popen(
                workflow.command(*arguments), cwd=self.folder, env=env, stdout=file, stderr=file
            )

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, what, seconds: float):
        """The first true value of `what()`."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert self.process.poll() is None, self.said()[-6000:]
            assert time.monotonic() < deadline, self.said()[-6000:]
            time.sleep(0.2)
        return found

    def finish(self, seconds: float) -> None:
        assert self.process.wait(seconds) == 0, self.said()[-6000:]


def checkpoints(folder: Path, part: str) -> list[Path]:
    return list((folder / "state" / "quick" / part).rglob("checkpoint-*.pt"))


def job(cluster, what: str) -> dict[str, str]:
    """The one running job of a rule or its wildcards, with its `number`."""
    ((number, found),) = ((n, j) for n, j in cluster.jobs().items() if what in j["what"])
    return found | {"number": number}


def script_of(number: str, name: str) -> psutil.Process:
    """The process of a script of the workflow in a job of Slurm."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if re.search(rf"scripts/\S*{name}\.py", line):
            above = [" ".join(parent.cmdline()) for parent in process.parents()]
            if any(f"slurmstepd: [{number}." in line for line in above):
                return process
    raise LookupError(f"no {name}.py in the job {number}")


def test_a_cancelled_job_and_a_lost_node_end_with_the_same_bits(cluster, tmp_path):
    local, remote = (tmp_path / name for name in ("local", "remote"))
    for folder in (local, remote):
        folder.mkdir()
    cache = {"LIMITCYCLES_CACHE": str(tmp_path / "cache")}
    whole = Started(Workflow(local), *ARGUMENTS, env=os.environ | cache)
    site = tmp_path / "site"
    site.mkdir()
    (site / "config.yaml").write_text(SITE)
    profiles = ("--workflow-profile", "profiles/slurm", "--profile", site)
    run = Started(Workflow(remote), *ARGUMENTS, *profiles, env=cluster.environment | cache)
    try:
        # Cancelled while it trains, long before a checkpoint is due: it saves, and goes on.
        log = remote / "results/quick/logs/train/small-lenet-text/seed0.log"
        run.wait_for(lambda: "epoch" in text(log), 150)
        cancelled = job(cluster, "small-lenet-text")
        assert cancelled["partition"] == "other"  # as the profile of the site says
        cluster.call("scancel", cancelled["number"])
        run.wait_for(lambda: checkpoints(remote, "small-lenet-text"), 30)

        # A node is cut off: its processes stand still, the cluster takes it for dead.
        run.wait_for(lambda: checkpoints(remote, "trajectories"), 150)
        lost = job(cluster, "rule_trajectory")
        script = script_of(lost["number"], "trajectory")
        script.send_signal(signal.SIGSTOP)
        cluster.lose(lost["node"])
        log = remote / "results/quick/logs/trajectory/all-nesterov/0.log"
        run.wait_for(lambda: f"process {script.pid} on" in text(log), 150)
        assert "waiting" in text(log)  # the second try waits for its turn
        assert script.is_running()

        # It comes back: what ran there is ended, and the one that waited goes on.
        cluster.start(lost["node"])
        run.wait_for(lambda: not script.is_running(), 60)
        run.finish(180)
        whole.finish(180)
    finally:
        for started in (run, whole):
            if started.process.poll() is None:
                started.process.kill()
                started.process.wait()
    said = run.said()
    assert re.search(r"SLURM status is: 'CANCELLED'", said)
    assert re.search(r"SLURM status is: 'NODE_FAIL'|due to a node failure", said)
    assert "asked this process to end. It is saved" in said
    for target in (RUN, SPECTRUM, TRAJECTORY):
        assert contents(remote / target) == contents(local / target) != {}
    assert "No wall time information" not in said
    assert "No job memory information" not in said
