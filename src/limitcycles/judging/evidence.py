"""What a rule judges and its charts show: stored results, sorted by what they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from limitcycles.storage import store

Parts = dict[str, xr.Dataset]


@dataclass
class Evidence:
    """The same for `judge` and `draw`; what a claim does not read is empty.

    `runs` and `spectra` by arm (spectra by percent, too), one a seed; `rows`, the kept per-sample
    gradients. The measurement of the claim: `parts` of the one of a claim of the theory, `by_arm`
    of trajectories, one a seed, none of an arm that is not run at this scale, or `by_seed` of all
    runs together. `instruments` has the parts of each by name.
    """

    runs: dict[str, list[xr.Dataset]] = field(default_factory=dict)
    spectra: dict[str, dict[int, list[xr.Dataset]]] = field(default_factory=dict)
    rows: xr.Dataset | None = None
    parts: Parts = field(default_factory=dict)
    by_arm: dict[str, list[Parts]] = field(default_factory=dict)
    by_seed: list[Parts] = field(default_factory=list)
    instruments: dict[str, Parts] = field(default_factory=dict)


def gather(
    entry: dict,
    *,
    runs: Sequence[xr.Dataset] = (),
    spectra: Sequence[xr.Dataset] = (),
    sample: Sequence[xr.Dataset] = (),
    measured: Sequence[Parts] = (),
    instruments: Mapping[str, Parts] | None = None,
) -> Evidence:
    """Sort stored results by arm, percent and seed, as their attributes say.

    `measured` has all measurements of the claim: one for the theory, those of its trajectories, or
    one a seed of its runs.
    """
    arms = entry.get("arms", {})
    evidence = Evidence(rows=sample[0] if sample else None, instruments=dict(instruments or {}))
    of_trajectories = any("trajectory" in spec for spec in arms.values())
    of_runs = any("run" in spec for spec in arms.values())
    if of_trajectories or of_runs:
        measured = sorted(measured, key=lambda parts: _attrs(parts)["seed"])
    elif measured:
        (evidence.parts,) = measured
    if of_runs:
        evidence.by_seed = list(measured)
    for name, spec in arms.items():
        if "trajectory" in spec:
            mine = [p for p in measured if _attrs(p)["trajectory"] == spec["trajectory"]]
            evidence.by_arm[name] = mine
        if "run" not in spec:
            continue
        stores = [run for run in runs if run.attrs["run"] == spec["run"]]
        evidence.runs[name] = sorted(stores, key=lambda run: run.attrs["seed"])
        by_percent: dict[int, list[xr.Dataset]] = {}
        for spectrum in sorted(spectra, key=lambda s: s.attrs["seed"]):
            if spectrum.attrs["run"] == spec["run"]:
                by_percent.setdefault(int(spectrum.attrs["percent"]), []).append(spectrum)
        evidence.spectra[name] = by_percent
    return evidence


def _attrs(parts: Parts) -> dict:
    return next(iter(parts.values())).attrs


def load(entry: dict, paths: Mapping[str, Sequence[Path | str]]) -> Evidence:
    """Read what the workflow stored for a claim, and sort it.

    `paths` has `runs`, folders of `spectra`, of the `sample`, of the claim's `measured` parts, and
    of its `instruments`, each in a folder of its name. Raises StorageError: missing or damaged.
    """
    percents = entry.get("snapshots", [])
    return gather(
        entry,
        runs=[store.load(path) for path in paths.get("runs", ())],
        spectra=store.load_snapshots(paths.get("spectra", ()), percents),
        sample=store.load_snapshots(paths.get("sample", ()), percents[-1:]),
        measured=[store.load_parts(path) for path in paths.get("measured", ())],
        instruments={
            Path(path).parent.name: store.load_parts(path) for path in paths.get("instruments", ())
        },
    )
