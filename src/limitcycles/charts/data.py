"""From results and stores to the small tables that charts embed."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.runtime.errors import LimitcyclesError

LINE_POINTS = 240  # of a line that is read closely
FAINT_POINTS = 60  # of a line that only shows the spread over seeds


class ChartDataError(LimitcyclesError):
    """A chart needs a number that the claim's result or its stores do not hold."""


def thin(count: int, most: int = LINE_POINTS) -> np.ndarray:
    """At most `most` indices into `range(count)`, evenly spaced on a log scale, ends kept."""
    if count < 1:
        return np.empty(0, dtype=int)
    return np.unique(np.geomspace(1, count, min(most, count)).round().astype(int)) - 1


def table(frame: pd.DataFrame) -> alt.InlineData:
    """Embed `frame` as CSV with five significant digits: a quarter of the size of JSON rows."""
    parse = {
        name: "number" if pd.api.types.is_numeric_dtype(frame[name]) else "string"
        for name in frame.columns
    }
    return alt.InlineData(
        values=frame.to_csv(index=False, float_format="%.5g", lineterminator="\n"),
        format=alt.CsvDataFormat(type="csv", parse=parse),
    )


def snapshot_label(percent: float) -> str:
    """Name of a snapshot in legends: ``20 %``."""
    return f"{percent:g} %"


# The runs of an arm, or its spectra by percent, as `Evidence` has them.
Stores = Mapping[str, list[xr.Dataset]] | Mapping[str, dict[int, list[xr.Dataset]]]


def of_arm(stores: Stores, result: dict[str, Any], arm: dict[str, Any]) -> list[xr.Dataset]:
    """The stores (spectra or runs) of one arm, by seed and percent.

    Raises ChartDataError if there is none.
    """
    found = stores.get(arm["name"], [])
    mine = list(itertools.chain(*found.values())) if isinstance(found, Mapping) else found
    if not mine:
        raise ChartDataError(
            f"the charts of {result['id']} need stores of the run '{arm['run']}' (arm "
            f"'{arm['name']}') and were given none; make the claim and its inputs anew."
        )
    return sorted(mine, key=lambda store: (store.attrs["seed"], store.attrs.get("percent", 0)))


def at(spectra: Sequence[xr.Dataset], percent: float) -> list[xr.Dataset]:
    """Those of the spectra that were taken at `percent` of training."""
    return [spectrum for spectrum in spectra if spectrum.attrs["percent"] == percent]


def percents(spectra: Iterable[xr.Dataset]) -> list[float]:
    """All snapshots among the spectra, in order (percent of training)."""
    return sorted({spectrum.attrs["percent"] for spectrum in spectra})


def statistic(result: dict[str, Any], arm: dict[str, Any], name: str) -> dict[str, Any]:
    """The arm's statistic called `name`; raises ChartDataError if it has none."""
    for entry in arm["statistics"]:
        if entry["name"] == name:
            return entry
    names = ", ".join(f"'{entry['name']}'" for entry in arm["statistics"]) or "none"
    raise ChartDataError(
        f"a chart of {result['id']} needs the statistic '{name}' of the arm '{arm['name']}', which "
        f"has {names}; make the claim anew."
    )


def paper_value(result: dict[str, Any], name: str) -> float:
    """The paper's number called `name`; raises ChartDataError if the result holds none."""
    for entry in result["paper"]:
        if entry["name"] == name:
            return float(entry["value"])
    raise ChartDataError(
        f"a chart of {result['id']} needs the paper's '{name}'; add it under `paper` of "
        "its entry in the ledger."
    )


def rule_parameter(result: dict[str, Any], name: str) -> float:
    """The number `name` of the claim's rule; raises ChartDataError if there is none."""
    if name not in result["rule_parameters"]:
        raise ChartDataError(
            f"a chart of {result['id']} needs '{name}'; add it under `rule_parameters` of "
            "its entry in the ledger."
        )
    return float(result["rule_parameters"][name])
