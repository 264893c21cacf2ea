"""Claims: stored results in, a verdict with its numbers, controls and caveats out.

An evaluator never trains. It applies the rule of the ledger, written before the run, to runs,
spectra and studies that are already stored. To add one, write a module with
`evaluate(entry, evidence)` and name it in EVALUATORS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import xarray as xr

from limitcycles.claims import (
    architectures,
    closed_trajectories,
    conservative_force,
    double_well,
    energy_entropy_split,
    fokker_planck_evolution,
    free_energy_decreases,
    jko_flow,
    linear_decomposition,
    local_entropy,
    most_likely_locations,
    noise,
    noise_covariance,
    out_of_equilibrium,
    potential_and_loss,
    potential_independent,
    rank,
    sde_limit,
    training_errors,
)
from limitcycles.claims.result import Evidence, Outcome, assemble, untested
from limitcycles.errors import LimitcyclesError

EVALUATORS: dict[str, Callable[[dict, Evidence], Outcome]] = {
    "noise-covariance-with-replacement": noise_covariance.evaluate,
    "noise-covariance-without-replacement": noise_covariance.evaluate,
    "sde-limit": sde_limit.evaluate,
    "fokker-planck-evolution": fokker_planck_evolution.evaluate,
    "free-energy-decreases": free_energy_decreases.evaluate,
    "energy-entropy-split": energy_entropy_split.evaluate,
    "potential-equals-loss-iff-isotropic": potential_and_loss.evaluate,
    "conservative-force": conservative_force.evaluate,
    "closed-trajectories": closed_trajectories.evaluate,
    "jko-flow": jko_flow.evaluate,
    "linear-decomposition": linear_decomposition.evaluate,
    "most-likely-locations": most_likely_locations.evaluate,
    "potential-independent-of-temperature": potential_independent.evaluate,
    "double-well": double_well.evaluate,
    "out-of-equilibrium-grows": out_of_equilibrium.evaluate,
    "local-entropy": local_entropy.evaluate,
    "training-errors": training_errors.evaluate,
    "rank": rank.evaluate,
    "noise-independent-of-weights": noise.evaluate,
    "spectrum-ranks-architectures": architectures.evaluate,
}


def gather(
    entry: dict,
    *,
    runs: Sequence[xr.Dataset] = (),
    spectra: Sequence[xr.Dataset] = (),
    sample: Sequence[xr.Dataset] = (),
    study: Mapping[str, xr.Dataset] | None = None,
) -> Evidence:
    """Sort stored results by arm, percent and seed, as their attributes say."""
    evidence = Evidence(sample=sample[0] if sample else None, study=dict(study or {}))
    for name, spec in entry.get("arms", {}).items():
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


def judge(claim: str, entry: dict, evidence: Evidence, context: dict) -> dict:
    """The result file of one claim: by its evaluator, or "not tested" with the reason.

    Raises LimitcyclesError: the ledger names an evaluator that does not exist.
    """
    if "not_tested" in entry:
        return untested(claim, entry, context)
    if entry["evaluator"] not in EVALUATORS:
        raise LimitcyclesError(
            f"config/claims.yaml: {claim}.evaluator is {entry['evaluator']!r}; "
            f"known: {', '.join(EVALUATORS)}"
        )
    outcome = EVALUATORS[entry["evaluator"]](entry, evidence)
    return assemble(claim, entry, outcome, context)
