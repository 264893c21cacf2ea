"""Snakemake's limit of starts of jobs is lifted where it is its default, and never missed."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.scheduling import job_scheduler

RULES = Path(__file__).parents[2] / "rules/common.smk"


@pytest.fixture
def lifted():
    """Calls `lift_rate_limit` of the rules for a workflow."""
    source = re.search(r"^def lift_rate_limit.*?(?=^\S|\Z)", RULES.read_text(), re.M | re.S)[0]

    def lift(workflow):
        names = {"workflow": workflow}
        exec(source, names)
        names["lift_rate_limit"]()
        return workflow

    return lift


def workflow(local=True, **limiter):
    scheduler = SimpleNamespace(job_rate_limiter=SimpleNamespace(**limiter))
    return SimpleNamespace(local_exec=local, scheduler=scheduler)


def test_the_default_is_lifted_on_this_machine_only(lifted):
    assert lifted(workflow(max_jobs=100, timespan=1)).scheduler.job_rate_limiter is None
    for kept in (workflow(max_jobs=10, timespan=1), workflow(False, max_jobs=100, timespan=1)):
        assert lifted(kept).scheduler.job_rate_limiter is not None


@pytest.mark.parametrize(
    "other",
    [
        SimpleNamespace(),
        SimpleNamespace(local_exec=True, scheduler=None),
        SimpleNamespace(local_exec=True, scheduler=SimpleNamespace(job_rate_limiter=None)),
        workflow(most_jobs=100, timespan=1),
    ],
)
def test_a_version_of_snakemake_without_these_names_goes_on(lifted, other):
    before = str(other)
    assert str(lifted(other)) == before


def test_this_version_has_these_names():
    source = inspect.getsource(job_scheduler)
    assert "self.job_rate_limiter is None" in source
    assert {"max_jobs", "timespan"} <= vars(job_scheduler.JobRateLimiter).keys()
