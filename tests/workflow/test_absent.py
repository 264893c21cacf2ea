"""A dataset that is optional and cannot be had stops nothing; one that is needed does."""

import json
import os
import re

import pytest

pytestmark = pytest.mark.workflow
RUN = "runs={allcnn-100-text: {dataset: cifar100, seeds: [0]}}"


@pytest.fixture
def offline(workflow):
    """A machine without the dataset, and without a way to it."""
    dead = "http://127.0.0.1:9"  # nothing listens there: any download would fail
    ways = {"http_proxy": dead, "https_proxy": dead, "npm_config_offline": "true"}
    return os.environ | ways | {"LIMITCYCLES_CACHE": str(workflow.folder / "cache")}


def test_a_claim_whose_data_cannot_be_had_says_so(workflow, offline):
    arguments = ("claim_rank_cifar100", "--config", "scale=quick", RUN)
    finished = workflow.run(*arguments, env=offline)
    assert finished.returncode == 0, finished.stdout
    assert "Train" not in finished.stdout
    folder = workflow.folder / "results/quick"
    claim = json.loads((folder / "claims/rank-cifar100.json").read_text())
    assert claim["verdict"] == "not tested"
    assert claim["reason"].startswith("data not reachable (cifar100")
    assert claim["reason"].endswith("); not run at this scale")  # the other arm
    assert "\n" not in claim["reason"]
    answer = json.loads((folder / "data/cifar100.reachable.json").read_text())
    assert "data_folder" in answer["unreachable"]  # all that was tried, and what to do
    assert not list((folder / "figures/rank-cifar100").glob("*.svg"))
    again = workflow.run("-n", *arguments, env=offline)
    assert "Nothing to be done" in again.stdout


def test_other_claims_do_not_ask_for_it(workflow):
    finished = workflow.run("-n", "claim_rank_cifar10", "--config", "scale=laptop")
    assert finished.returncode == 0
    assert "Train allcnn-text, seed 1." in finished.stdout
    assert "can be had" not in finished.stdout
    finished = workflow.run("-n", "claim_rank_cifar100", "--config", "scale=laptop")
    assert "Look whether the dataset cifar100 can be had." in finished.stdout


def test_it_is_looked_for_before_all_else(workflow, offline):
    # While it is open Snakemake deletes no gradients: 50 GB and more at the scale laptop.
    spectrum = "results/quick/spectra/fc-8/seed0/0-100"
    finished = workflow.run(
        spectrum, "claim_rank_cifar100", "-c1", "--config", "scale=quick", RUN, env=offline
    )
    assert finished.returncode == 0, finished.stdout
    jobs = re.findall(r"^Job \d+: (.*)", finished.stdout, re.MULTILINE)
    assert jobs[0] == "Look whether the dataset cifar100 can be had."
    assert "Removing temporary output results/quick/gradients/fc-8" in finished.stdout
    assert not (workflow.folder / "results/quick/gradients/fc-8/seed0/0-100/full").exists()


def test_a_dataset_that_is_needed_stops_its_claims(workflow, offline):
    arguments = ("--config", "scale=quick", RUN, "datasets={cifar100: {optional: false}}")
    finished = workflow.run("claim_rank_cifar100", *arguments, env=offline)
    assert finished.returncode != 0
    assert "cifar100: no source could deliver it" in finished.stdout
    assert not (workflow.folder / "results/quick/claims/rank-cifar100.json").exists()
