"""The charts of a claim: those of its folder, and of the instruments that it relies on."""

import importlib
from typing import Any

import altair as alt

from limitcycles.judging import folders
from limitcycles.judging.evidence import Evidence
from limitcycles.judging.result import Verdict


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of one claim, by name, in the order of its NAMES; one without its data is left out.

    Those of its instruments follow. Each chart has a title, and its caption as `description`. A
    claim that was not tested has none.

    Parameters
    ----------
    result
        The claim's result (the JSON file of the claim); `judged_by` names the folder.
    evidence
        What the claim was judged on.

    Raises
    ------
    LimitcyclesError
        If there is no such folder.
    ChartDataError
        If a number that is drawn is missing.
    """
    if result["verdict"] == Verdict.NOT_TESTED:
        return {}
    drawn: dict[str, alt.TopLevelMixin] = {}
    for name in (result["judged_by"], *result["instruments"]):
        drawn |= _of_folder(name, result, evidence)
    return drawn


def instrument(
    name: str, entry: dict[str, Any], evidence: Evidence
) -> dict[str, alt.TopLevelMixin]:
    """Charts of an instrument, beside the numbers of the rule of a claim that relies on it.

    `entry` is that claim's in the ledger. Raises LimitcyclesError, as `draw` does.
    """
    return _of_folder(name, entry, evidence)


def _of_folder(
    name: str, result: dict[str, Any], evidence: Evidence
) -> dict[str, alt.TopLevelMixin]:
    return importlib.import_module(folders.module(name, "charts")).draw(result, evidence)
