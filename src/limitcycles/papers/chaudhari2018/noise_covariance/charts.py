"""Charts of the covariance of mini-batch gradients (Def. 1, App. A)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("trace-ratio", "matrix-distance")
FORMULA = {"with-replacement": "D/b", "without-replacement": "(1/b)(1 − b/N) D'"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    sampling = result["id"].removeprefix("noise-covariance-")
    network = evidence.parts["network"].sel(sampling=sampling)
    return {
        "trace-ratio": _ratio(result, network, sampling),
        "matrix-distance": _distance(network, sampling),
    }


def _frame(network: xr.Dataset, sampling: str) -> pd.DataFrame:
    """One row for each batch size, and one for the control."""
    names = ["ratio", "low", "high", "distance", "envelope_low", "envelope_high", "batch"]
    claimed = network[names].to_dataframe()[names].assign(drawn=sampling.replace("-", " "))
    other = next(s for s in FORMULA if s != sampling).replace("-", " ")
    control = {name: float(network[f"control_{name}"]) for name in names}
    control = pd.DataFrame([control | {"drawn": f"{other} (control)"}])
    frame = pd.concat([claimed, control], ignore_index=True)
    # N/2 stands in the claim and in the control: side by side.
    return frame.assign(place=frame["batch"] * np.where(frame["drawn"].str.endswith(")"), 1.12, 1))


def _base(frame: pd.DataFrame) -> tuple[alt.Chart, alt.X]:
    low, high = 0.5, 1.3 * frame["place"].max()  # room for the label of the paper's line
    ticks = sorted({1, 8, 32, *map(int, frame["batch"])})
    axis = alt.Axis(title="batch size b", values=ticks, format="d")
    place = alt.X("place:Q", scale=parts.log_scale(low, high), axis=axis)
    order = list(dict.fromkeys(frame["drawn"]))
    base = alt.Chart(data.table(frame)).encode(
        x=place,
        color=alt.Color("drawn:N", sort=order, legend=parts.legend("mini-batches drawn")),
    )
    return base, alt.Shape("drawn:N", sort=order, legend=None)


def _ratio(result: dict[str, Any], network: xr.Dataset, sampling: str) -> alt.TopLevelMixin:
    bound = data.rule_parameter(result, "half_width")
    frame = _frame(network, sampling)
    base, shape = _base(frame)
    (number,) = result["paper"]
    ends = [frame["low"].min() - 0.06, frame["high"].max() + 0.08]
    scale = alt.Scale(domain=ends, nice=False, zero=False)
    points = base.mark_point(filled=True, size=60).encode(
        y=alt.Y("ratio:Q", title=number["name"], scale=scale),
        shape=shape,
        tooltip=[
            alt.Tooltip("batch:Q", title="b"),
            alt.Tooltip("ratio:Q", format=".4f"),
            alt.Tooltip("low:Q", format=".4f"),
            alt.Tooltip("high:Q", format=".4f"),
        ],
    )
    bars = base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
    line = parts.horizontal_line(data.paper_value(result, number["name"]), "the paper: 1")
    chart = parts.wide(280, line, bars, points)
    mine = frame.iloc[:-1]
    worst = mine.loc[(mine["ratio"] - 1).abs().idxmax()]
    caption = (
        f"Trace of the covariance of drawn mini-batch gradients over that of {FORMULA[sampling]}, "
        f"for the {network.attrs['samples']} per-sample gradients of a trained network, with "
        f"{wording.percent(network.attrs['level'])} intervals (the rule allows "
        f"± {wording.given(bound)}). Furthest from 1: {wording.number(worst['ratio'], 4)} at "
        f"b = {worst['batch']:.0f}. Batches drawn the other way at b = "
        f"{frame['batch'].iloc[-1]:.0f} give {wording.number(frame['ratio'].iloc[-1])}."
    )
    return dressed(chart, f"Mini-batch noise {sampling.replace('-', ' ')}", caption)


def _distance(network: xr.Dataset, sampling: str) -> alt.TopLevelMixin:
    frame = _frame(network, sampling)
    low, high = parts.log_range([*frame["envelope_low"], *frame["distance"]])
    base, shape = _base(frame)
    scale = parts.log_scale(low, high)
    axis = parts.log_axis("distance from C / size of C (Frobenius)", low, high, plain=True)
    envelope = base.mark_bar(size=10, opacity=0.28).encode(
        y=alt.Y("envelope_low:Q", scale=scale, axis=axis), y2="envelope_high:Q"
    )
    points = base.mark_point(filled=True, size=60).encode(
        y=alt.Y("distance:Q", scale=scale, axis=axis),
        shape=shape,
        tooltip=[
            alt.Tooltip("batch:Q", title="b"),
            alt.Tooltip("distance:Q", format=".4f"),
            alt.Tooltip("envelope_low:Q", format=".4f"),
            alt.Tooltip("envelope_high:Q", format=".4f"),
        ],
    )
    chart = parts.wide(280, envelope, points)
    inside = (network["distance"] >= network["envelope_low"]) & (
        network["distance"] <= network["envelope_high"]
    )
    caption = (
        f"Distance of the drawn covariance from C = {FORMULA[sampling]}. Pale bars: where "
        f"{wording.percent(network.attrs['level'])} of simulated draws lie if C is true, for each "
        f"b by itself: with a finite number of draws the distance is never zero. "
        f"{int(inside.sum())} of {inside.size} batch sizes lie inside. The control, drawn "
        f"beside its b = {frame['batch'].iloc[-1]:.0f}, stands "
        f"{wording.number(frame['distance'].iloc[-1])} away."
    )
    return dressed(chart, f"Covariance matrix {sampling.replace('-', ' ')}", caption)
