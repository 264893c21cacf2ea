"""A measurement: what `measure.py` in the folder of a claim, or of an instrument, computes.

It knows neither rules nor charts. What it is handed follows from the arms of the claim:

- `measure(settings)`, once, where they are systems of the theory;
- `measure(trajectory, dataset, settings)`, once per trajectory and seed;
- `measure(runs, spectra, datasets, settings, seed, *, device, state)`, once per seed, with all runs
  that are there, their spectra at the last snapshot, and their datasets by name.

It returns datasets by name, its parts. `READS` in the module names what it reads, such as
("theory.seed", "rule.leading"): keys of the configuration, and numbers of the claim's rule.
`settings` has just these by their last name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr

from limitcycles.judging import folders

Parts = dict[str, xr.Dataset]


def of_theory(name: str, settings: dict[str, Any]) -> Parts:
    """The parts of a measurement on systems of the theory, or of an instrument.

    Raises LimitcyclesError: there is no measurement of that name.
    """
    return _module(name).measure(settings)


def of_trajectory(
    name: str, trajectory: xr.Dataset, dataset: xr.Dataset, settings: dict[str, Any]
) -> Parts:
    """Those on a trajectory; each part gets the attributes `trajectory` (its name) and `seed`."""
    attrs = {"trajectory": trajectory.attrs["run"], "seed": int(trajectory.attrs["seed"])}
    parts = _module(name).measure(trajectory, dataset, settings)
    return {part: found.assign_attrs(attrs) for part, found in parts.items()}


def of_runs(
    name: str,
    runs: Sequence[xr.Dataset],
    spectra: Sequence[xr.Dataset],
    datasets: Mapping[str, xr.Dataset],
    settings: dict[str, Any],
    seed: int,
    *,
    device: str = "auto",
    state: Path | None = None,
) -> Parts:
    """Those on all runs of a seed together; each part gets the attribute `seed`."""
    parts = _module(name).measure(
        runs, spectra, datasets, settings, seed, device=device, state=state
    )
    return {part: found.assign_attrs(seed=seed) for part, found in parts.items()}


def _module(name: str) -> ModuleType:
    return importlib.import_module(folders.module(name, "measure"))
