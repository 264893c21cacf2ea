"""Charts of the claims: one look, the paper's value in each, captions made of the numbers.

`draw` makes the charts of one claim, `save` writes one to disk, `names` tells which charts an
evaluator has before anything is run. The theme is registered with Altair as "limitcycles":
``altair.theme.enable("limitcycles")`` gives a notebook the same look.
"""

import importlib
from types import ModuleType
from typing import Any

import altair as alt
import xarray as xr

from limitcycles.charts.data import ChartDataError
from limitcycles.charts.files import SUFFIXES, save, scripts
from limitcycles.judging.ledger import EVALUATORS, PAPER

__all__ = ["SUFFIXES", "ChartDataError", "draw", "names", "save", "scripts"]


def names(evaluator: str) -> tuple[str, ...]:
    """Names of the charts that an evaluator can have, in order, before anything is run.

    Raises ChartDataError: it is not known here.
    """
    return _module(evaluator).NAMES


def _module(evaluator: str) -> ModuleType:
    if evaluator not in EVALUATORS:
        raise ChartDataError(
            f"the evaluator '{evaluator}' has no charts; those that have: {', '.join(EVALUATORS)}."
        )
    return importlib.import_module(f"{PAPER}.{EVALUATORS[evaluator]}.charts")


def draw(
    evaluator: str,
    result: dict[str, Any],
    spectra: list[xr.Dataset],
    runs: list[xr.Dataset],
    study: dict[str, xr.Dataset] | None = None,
    analyses: dict[str, list[dict[str, xr.Dataset]]] | None = None,
    late_noise: list[xr.Dataset] | None = None,
) -> dict[str, alt.TopLevelMixin]:
    """Charts of one claim, by name, in the order of `names`; one without its data is left out.

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
        The parts of its study, if it has one.
    analyses
        For a claim on trajectories, by trajectory, one a seed, the parts of their analysis.
    late_noise
        For a claim on the late noise of runs, one a seed.

    Raises
    ------
    ChartDataError
        If the evaluator is not known here, or a number that is drawn is missing.
    """
    if result["verdict"] == "not tested":
        return {}
    module = _module(evaluator)
    if analyses:
        return module.draw(result, analyses, study)
    if late_noise:
        return module.draw(result, late_noise)
    if study:
        return module.draw(result, study)
    return module.draw(result, spectra, runs)
