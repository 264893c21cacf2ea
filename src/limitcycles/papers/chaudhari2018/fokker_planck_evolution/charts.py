"""Charts of ensembles against the Fokker–Planck equation."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import ORDINAL, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("densities", "distance")
SOLVED, WRONG = "solution of (FP)", "Stratonovich paths (control)"
ITO, CLOSED = "Itô paths", "linear system (control)"


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "densities": _densities(evidence.parts["ensembles"]),
        "distance": _distances(result, evidence.parts["ensembles"], evidence.parts["control"]),
    }


def _densities(found: xr.Dataset) -> alt.TopLevelMixin:
    chosen = parts.legend_choice("time")
    names = [str(name) for name in found["system"].values]
    charts = [parts.panel(_panel(found.sel(system=name), chosen), name) for name in names]
    varying = found.dropna("system", subset=["stratonovich_distance"])["system"].values
    paths = wording.count(found.attrs["paths"])
    times = ", ".join(f"{time:g}" for time in found["time"].values)
    caption = (
        f"Density along x₁ at the times {times}: points are the histogram of {paths} paths, lines "
        "the solution of the Fokker–Planck equation from the same Gaussian. Dashed, at the last "
        "time: the same noise read after Stratonovich, which differs where D varies "
        f"({', '.join(varying)})."
    )
    return dressed(parts.panels(charts, chosen), "An ensemble and its density", caption)


def _panel(mine: xr.Dataset, chosen: alt.Parameter) -> alt.TopLevelMixin:
    frame = mine[["sampled", "solved", "stratonovich"]].to_dataframe().reset_index()
    frame["x"] = mine["x"].values[frame["bin"]]
    frame["time"] = frame["time"].map("{:g}".format)
    last = frame["time"].iloc[-1]
    lines = [frame.assign(density=frame["solved"], by=SOLVED)]
    wrong = frame[(frame["time"] == last) & frame["stratonovich"].notna()]
    lines.append(wrong.assign(density=wrong["stratonovich"], by=WRONG))
    shown = pd.concat(lines)[["x", "time", "density", "by"]]
    scale = alt.Scale(domain=sorted(set(frame["time"]), key=float), range=ORDINAL)
    encoding = {
        "x": alt.X("x:Q", title="x₁", scale=alt.Scale(nice=False)),
        "color": alt.Color("time:N", scale=scale, legend=parts.legend("time")),
        "opacity": parts.fading(chosen, 0.9),
    }
    dashes = alt.Scale(domain=[SOLVED, WRONG], range=[[1, 0], [5, 4]])
    line = (
        alt.Chart(data.table(shown))
        .mark_line(strokeWidth=1.6)
        .encode(
            y=alt.Y("density:Q", title="density along x₁"),
            strokeDash=alt.StrokeDash("by:N", scale=dashes, legend=parts.legend(None, lines=True)),
            **encoding,
        )
    )
    points = (
        alt.Chart(data.table(frame[["x", "time", "sampled"]]))
        .mark_point(filled=True, size=22)
        .encode(y="sampled:Q", tooltip=["time:N", "x:Q", "sampled:Q"], **encoding)
    )
    return line + points


def _distances(result: dict[str, Any], found: xr.Dataset, linear: xr.Dataset) -> alt.TopLevelMixin:
    level = wording.percent(data.rule_parameter(result, "level"))
    rows = [
        _ratios(found, "distance", ITO),
        _ratios(found, "stratonovich_distance", WRONG),
        _ratios(linear.expand_dims(system=["linear"]), "distance", CLOSED),
    ]
    frame = pd.concat(rows).dropna()
    low, high = parts.log_range([*frame["ratio"], 0.5])
    chosen = parts.legend_choice("system")
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X("time:Q", title="time", scale=alt.Scale(nice=False, padding=12)),
        y=parts.log_y("ratio", "L1 distance / its envelope", low, high, plain=True),
        color=alt.Color("system:N", legend=parts.legend("system")),
        opacity=parts.fading(chosen, 0.9),
    )
    looks = (([1, 0], "circle"), ([5, 4], "triangle-up"), ([1, 3], "square"))
    kinds = dict(zip((ITO, WRONG, CLOSED), looks, strict=True))
    tips = parts.tooltip("system:N", "by:N", "time:Q", ratio=".3f")
    traces = parts.traces(base, kinds, chosen, 60, tips)
    line = parts.horizontal_line(1.0, f"rule: within the {level} envelope", "threshold")
    chart = parts.wide(320, *traces, line)
    ratio = float((found["distance"] / found["envelope"]).max())
    wrong = (found["stratonovich_distance"] / found["envelope"]).max("time")
    caption = (
        "L1 distance between the histogram of an ensemble and the solution, over the distance that "
        f"{level} of histograms drawn from the solution itself keep at all times of a system. The "
        f"largest of the Itô paths is {wording.number(ratio)}; read after Stratonovich the same "
        f"systems reach {wording.number(float(np.nanmin(wrong)))} and more."
    )
    return dressed(chart, "Distance of the ensemble from the equation", caption)


def _ratios(found: xr.Dataset, name: str, by: str) -> pd.DataFrame:
    ratio = (found[name] / found["envelope"]).rename("ratio")
    return ratio.to_dataframe().reset_index().assign(by=by)
