"""One run of the whole workflow for all tests of its results."""

import os

import pytest
from checkout import Workflow


@pytest.fixture
def workflow(tmp_path):
    return Workflow(tmp_path)


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """The whole workflow at the quick scale, run once, with the network cut off."""
    workflow = Workflow(tmp_path_factory.mktemp("quick"))
    dead = "http://127.0.0.1:9"  # nothing listens there: any download would fail
    offline = os.environ | {"http_proxy": dead, "https_proxy": dead, "npm_config_offline": "true"}
    finished = workflow.run(
        "--config",
        "scale=quick",
        "--report",
        "report.html",
        "--report-after-run",
        env=offline | {"LIMITCYCLES_CACHE": str(workflow.folder / "cache")},
    )
    assert finished.returncode == 0, finished.stdout[-4000:]
    return workflow
