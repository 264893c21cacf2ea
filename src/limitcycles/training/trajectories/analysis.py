"""Analyses of long trajectories: what the claims of Figure 3 and on currents are judged on.

An analysis is a module of this package with a function
`analyse(trajectory, dataset, settings) -> {part: Dataset}`: `trajectory` the opened store that
`training.trajectories.recording.record` wrote, `dataset` what it was trained on, `settings` the
section `series` of the configuration. Name it in the ledger (`analysis: <module>`).
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import xarray as xr

from limitcycles.runtime.errors import LimitcyclesError

PAPER = Path(__file__).parents[2] / "papers" / "chaudhari2018"


def run(
    name: str, trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict
) -> dict[str, xr.Dataset]:
    """Run one analysis; each part gets the attributes `trajectory` (its name) and `seed`.

    Raises LimitcyclesError: there is no analysis of that name.
    """
    known = sorted(p.parent.name for p in PAPER.glob("*/measure.py"))
    if name not in known:
        raise LimitcyclesError(
            f"config/claims.yaml names the analysis {name!r}; known: {', '.join(known) or '(none)'}"
        )
    module = importlib.import_module(f"limitcycles.papers.chaudhari2018.{name}.measure")
    attrs = {"trajectory": trajectory.attrs["run"], "seed": int(trajectory.attrs["seed"])}
    parts = module.analyse(trajectory, dataset, settings)
    return {part: found.assign_attrs(attrs) for part, found in parts.items()}


def training_of(trajectory: xr.Dataset) -> dict:
    """The section `training` of the settings that the trajectory was recorded with."""
    return json.loads(trajectory.attrs["settings"])["training"]


def after_transient(trajectory: xr.Dataset) -> int:
    """The epoch after which the learning rate is constant: where every analysis begins.

    It is the last step of the schedule: the weights after this epoch are the last ones that the
    rate before had a part in.
    """
    training = training_of(trajectory)
    at = training["learning_rate"]["at"]
    return round(at[-1] * training["epochs"]) if at else 0
