"""Charts of the claims: one look, the paper's value in each, captions made of the numbers.

`draw` makes the charts of one claim, `save` writes one to disk, `CHARTS` tells which charts an
evaluator has before anything is run. The theme is registered with Altair as "limitcycles":
``altair.theme.enable("limitcycles")`` gives a notebook the same look.
"""

from types import ModuleType
from typing import Any

import altair as alt
import xarray as xr

from limitcycles.charts import (
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
    training,
)
from limitcycles.charts.data import ChartDataError
from limitcycles.charts.files import SUFFIXES, save

_MODULES: dict[str, ModuleType] = {
    "noise-covariance-with-replacement": noise_covariance,
    "noise-covariance-without-replacement": noise_covariance,
    "sde-limit": sde_limit,
    "fokker-planck-evolution": fokker_planck_evolution,
    "free-energy-decreases": free_energy_decreases,
    "energy-entropy-split": energy_entropy_split,
    "potential-equals-loss-iff-isotropic": potential_and_loss,
    "conservative-force": conservative_force,
    "closed-trajectories": closed_trajectories,
    "jko-flow": jko_flow,
    "linear-decomposition": linear_decomposition,
    "most-likely-locations": most_likely_locations,
    "potential-independent-of-temperature": potential_independent,
    "double-well": double_well,
    "out-of-equilibrium-grows": out_of_equilibrium,
    "local-entropy": local_entropy,
    "training-errors": training,
    "rank": rank,
    "noise-independent-of-weights": noise,
    "spectrum-ranks-architectures": architectures,
}

CHARTS: dict[str, tuple[str, ...]] = {name: module.NAMES for name, module in _MODULES.items()}

__all__ = ["CHARTS", "SUFFIXES", "ChartDataError", "draw", "save"]


def draw(
    evaluator: str,
    result: dict[str, Any],
    spectra: list[xr.Dataset],
    runs: list[xr.Dataset],
    study: dict[str, xr.Dataset] | None = None,
) -> dict[str, alt.TopLevelMixin]:
    """Charts of one claim, by name, in the order of ``CHARTS[evaluator]``.

    Each chart has a title, and its caption as `description`. A claim that was not tested has none.

    Parameters
    ----------
    evaluator
        Name of the claim's evaluator in the ledger.
    result
        The claim's result (the JSON file of the claim).
    spectra, runs
        The stores that the claim was judged on; attrs hold run, seed (and percent).
    study
        The parts of its study, for a claim of the theory.

    Raises
    ------
    ChartDataError
        If the evaluator is not known here, or a number that is drawn is missing.
    """
    if result["verdict"] == "not tested":
        return {}
    if evaluator not in _MODULES:
        raise ChartDataError(
            f"the evaluator '{evaluator}' of {result['id']} has no charts; "
            f"those that have: {', '.join(_MODULES)}."
        )
    if study:
        return _MODULES[evaluator].draw(result, study)
    return _MODULES[evaluator].draw(result, spectra, runs)
