"""Claims: stored results in, a verdict with its numbers, controls and caveats out.

An evaluator never trains. It applies the rule of the ledger, written before the run, to runs,
spectra, analyses of trajectories and studies that are already stored. To add one, write a module
with `evaluate(entry, evidence)`, name it in EVALUATORS, and say under `x-evaluators` in
workflow/schemas/claims.schema.yaml what it reads of an entry.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence

import xarray as xr

from limitcycles.judging.ledger import EVALUATORS, PAPER
from limitcycles.judging.result import Evidence, NotRun, assemble, untested
from limitcycles.runtime.errors import LimitcyclesError


def gather(
    entry: dict,
    *,
    runs: Sequence[xr.Dataset] = (),
    spectra: Sequence[xr.Dataset] = (),
    sample: Sequence[xr.Dataset] = (),
    analyses: Mapping[str, Sequence[dict[str, xr.Dataset]]] | None = None,
    study: Mapping[str, xr.Dataset] | None = None,
    late_noise: Sequence[xr.Dataset] = (),
) -> Evidence:
    """Sort stored results by arm, percent and seed, as their attributes say.

    `analyses` holds them by trajectory, as `store.load_analyses` returns them.
    """
    evidence = Evidence(
        sample=sample[0] if sample else None,
        study=dict(study or {}),
        late_noise=sorted(late_noise, key=lambda one: one.attrs["seed"]),
    )
    for name, spec in entry.get("arms", {}).items():
        if "trajectory" in spec:
            evidence.analyses[name] = list((analyses or {}).get(spec["trajectory"], ()))
        if "run" not in spec:
            continue
        mine = [r for r in runs if r.attrs["run"] == spec["run"]]
        evidence.runs[name] = sorted(mine, key=lambda r: r.attrs["seed"])
        by_percent: dict[int, list[xr.Dataset]] = {}
        for spectrum in sorted(spectra, key=lambda s: s.attrs["seed"]):
            if spectrum.attrs["run"] == spec["run"]:
                by_percent.setdefault(int(spectrum.attrs["percent"]), []).append(spectrum)
        evidence.spectra[name] = by_percent
    return evidence


def absent(
    entry: dict, runs: Mapping[str, dict], unreachable: Mapping[str, str | None]
) -> dict[str, str]:
    """Why arms with a run are not there, by arm; those that are there are not listed.

    `runs` has the resolved settings of each arm, `unreachable` by dataset why it cannot be had
    (None: it can), of which the first sentence is taken.
    """
    reasons = {}
    for name, spec in entry["arms"].items():
        if "run" not in spec:
            continue
        reason = unreachable.get(runs[name]["dataset_name"])
        if not runs[name]["seeds"]:
            reasons[name] = "not run at this scale"
        elif reason is not None:
            first = re.split(r"\. |\.?\n", reason)[0].removesuffix(".")
            file = f"data/{runs[name]['dataset_name']}.reachable.json"
            reasons[name] = f"data not reachable ({first}; all attempts, and what to do: {file})"
    return reasons


def judge(claim: str, entry: dict, evidence: Evidence, context: dict) -> dict:
    """The result file of one claim: by its evaluator, or "not tested" with the reason,
    which may be that this scale runs no arm that decides, or that its data cannot be had.

    Arms that `context["absent"]` names are judged as if the ledger did not have them, and become a
    caveat.

    Raises LimitcyclesError: the ledger names an evaluator that does not exist.
    """
    if "not_tested" in entry:
        return untested(claim, entry, context)
    if entry["evaluator"] not in EVALUATORS:
        raise LimitcyclesError(
            f"config/claims.yaml: {claim}.evaluator is {entry['evaluator']!r}; "
            f"known: {', '.join(EVALUATORS)}"
        )
    module = importlib.import_module(f"{PAPER}.{EVALUATORS[entry['evaluator']]}.rule")
    absent = context.get("absent", {})
    there = {name: its for name, its in entry["arms"].items() if name not in absent}
    if not there:
        return untested(claim, entry, context, "; ".join(dict.fromkeys(absent.values())))
    entry = entry | {"arms": there}
    try:
        return assemble(claim, entry, module.evaluate(entry, evidence), context)
    except NotRun as reason:
        return untested(claim, entry, context, str(reason))
