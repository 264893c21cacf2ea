"""Training and test error at the end of training (Sec. IV)."""

from __future__ import annotations

import json
from functools import partial

import torch
import xarray as xr

from limitcycles.judging.evidence import Evidence
from limitcycles.judging.numbers import statistic, within
from limitcycles.judging.result import Outcome, all_agree, arm, negative, paper_value, positive
from limitcycles.statistics.intervals import PERCENT
from limitcycles.training.sgd import error_percent

# What the rule reads of its entry of the ledger.
PARAMETERS = ("level", "factor")
EVIDENCE = ("runs",)
PAPER_OF_NETWORK = ("training error of {network}", "test error of {network}")

PLANTED = 10_000  # predictions of the positive control
WORDS = {"test": "test error", "train": "training error"}  # as the ledger has them


def network(run: xr.Dataset) -> str:
    """Name of the network that a stored run trained."""
    return json.loads(run.attrs["settings"])["network_name"]


def judge(entry: dict, evidence: Evidence) -> Outcome:
    """Compare the errors of each network with the paper's.

    Raises LimitcyclesError: the ledger has no errors of the network of an arm.
    """
    parameters = entry["rule_parameters"]
    # Of each network that the paper gives errors of, those errors (%) by part of the data.
    known = list(dict.fromkeys(item["name"].split(" of ")[1] for item in entry["paper"]))
    networks = {name: network(evidence.runs[name][0]) for name in entry["arms"]}
    papers = {
        one: {part: paper_value(entry, f"{word} of {one}") for part, word in WORDS.items()}
        for one in networks.values()
    }

    def passes(errors: dict[str, float], paper: dict[str, float]) -> bool:
        return all(within(errors[p], paper[p], parameters["factor"]) for p in paper)

    arms, controls = [], []
    for name, its in networks.items():
        last = {p: [float(r[f"{p}_error"][-1]) for r in evidence.runs[name]] for p in WORDS}
        share = partial(statistic, scale=PERCENT, unit="%", level=parameters["level"])
        statistics = [share(f"{p} error", last[p], paper=v) for p, v in papers[its].items()]
        values = {p: s["value"] for p, s in zip(papers[its], statistics, strict=True)}
        arms.append(arm(entry, name, passes(values, papers[its]), statistics))

    for one, paper in papers.items():
        planted = {part: _planted(value) for part, value in paper.items()}
        first = next(evidence.runs[name][0] for name, its in networks.items() if its == one)
        untrained = {p: float(first[f"{p}_error"][0]) for p in paper}
        made = f"{one}: {round(PLANTED * paper['test'] / 100)} of {PLANTED} labels planted wrong"
        start, fails = f"{one} before training", not passes(untrained, paper)
        controls += [
            positive(made, "error in %", planted["test"], passes(planted, paper)),
            negative(start, "test error in %", untrained["test"], fails),
        ]

    verdict, caveats = all_agree(arms)
    missing = [one for one in known if one not in papers]
    caveats += [f"{one} is not tested" for one in missing]
    return Outcome(verdict, arms[0]["statistics"][0], arms, controls, [], caveats)


def _planted(percent: float) -> float:
    """The error (%) that is counted where so many percent of the labels are wrong."""
    labels = torch.arange(PLANTED) % 10
    predictions = labels.clone()
    wrong = round(PLANTED * percent / 100)
    predictions[:wrong] = (labels[:wrong] + 1) % 10
    return error_percent(predictions, labels)
