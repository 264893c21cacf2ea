"""What jobs ask the scheduler for: enough, more at each attempt, nothing of the login node."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.workflow

PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings, DAGSettings, OutputSettings, ResourceSettings, WorkflowSettings
)
given = json.loads(sys.argv[1])
config = {"scale": "laptop"} | given["config"]
with SnakemakeApi(OutputSettings()) as api:
    made = api.workflow(
        resource_settings=ResourceSettings(**given["resources"]),
        config_settings=ConfigSettings(config=config),
        snakefile=Path("Snakefile"),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        made.dag(DAGSettings(targets=set(given["targets"]))).summary()
    found = []
    for job in made._workflow.dag.jobs:
        own = {"rule": job.rule.name, "threads": job.threads}
        own["local"] = job.rule.name in made._workflow._localrules
        for job.attempt in (1, 2, 3):
            for name in ("mem_mb", "runtime", "disk_mb"):
                own.setdefault(name, []).append(job.resources.get(name))
        found.append(own)
print(json.dumps(found))
"""
SPECTRUM = "results/laptop/spectra/cnn-16/seed0/0-100"


@pytest.fixture
def asked(workflow):
    """What each job asks for, those of `mem_mb` and so on at attempts 1, 2 and 3."""

    def ask(*targets, config=None, **resources):
        given = {"targets": targets, "config": config or {}, "resources": resources}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(given)],
            cwd=workflow.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def one(jobs, rule):
    (found,) = (job for job in jobs if job["rule"] == rule)
    return found


def test_every_job_says_what_it_needs_and_asks_for_more_in_vain(asked):
    jobs = asked("claims", "calibration", cores=2)
    targets = ("claims", "calibration")
    rules = {job["rule"] for job in jobs}
    assert {"train", "trajectory", "measure", "claim", "instrument", "dataset"} <= rules
    for job in jobs:
        if job["rule"] in targets:
            continue
        for name in ("mem_mb", "runtime", "disk_mb"):
            assert all(amount > 0 for amount in job[name]), job
        for name in ("mem_mb", "runtime"):
            assert sorted(set(job[name])) == job[name], job
        assert job["mem_mb"][0] >= 251 + 300


def test_what_fetches_and_what_is_small_runs_where_snakemake_was_started(asked):
    local = {job["rule"] for job in asked("all", cores=2) if job["local"]}
    assert {"dataset", "reachable", "scripts", "not_tested", "ledger", "page"} <= local
    assert not local & {"train", "trajectory", "gradients", "spectrum", "measure", "claim"}


@pytest.mark.parametrize(
    ("target", "rule", "config", "took"),
    [  # measured, in benchmarks/README.md
        ("results/laptop/runs/allcnn-text/seed0.zarr.zip", "train", {}, 2220),
        (SPECTRUM, "spectrum", {}, 2177),
        (
            SPECTRUM,
            "spectrum",
            {
                "runs": {"cnn-16": {"gradients": {"images": 10_000}}},
                "spectrum": {"exact_up_to": 14_000},
            },
            5700,
        ),
    ],
)
def test_memory_as_measured(asked, target, rule, config, took):
    memory = one(asked(target, config=config, cores=2, resources={"mem_mb": 10**6}), rule)["mem_mb"]
    assert took < memory[0] < 1.5 * took


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({"cores": 32}, 16),
        ({"cores": 2}, 2),
        ({"nodes": 50}, 16),  # a cluster: there are no cores that would count
        ({"nodes": 50, "max_threads": 8}, 8),
    ],
)
def test_threads_of_a_large_spectrum(asked, settings, threads):
    large = {
        "runs": {"cnn-16": {"gradients": {"images": 6000}}},
        "spectrum": {"exact_up_to": 6000},
    }
    assert one(asked(SPECTRUM, config=large, **settings), "spectrum")["threads"] == threads
    assert one(asked(SPECTRUM, **settings), "spectrum")["threads"] == 1


def test_the_gradients_that_are_deleted_later_are_declared(asked):
    job = one(asked(SPECTRUM, cores=2), "gradients")
    stored = 2 * 2000 * 47_186 * 4 / 2**20  # two snapshots
    assert stored < job["disk_mb"][0] < 1.2 * stored
