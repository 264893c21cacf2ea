"""Chart of JKO steps against the Fokker–Planck equation."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.jko_flow.rule import given

NAMES = ("distance-by-step",)
RIGHT, WRONG = "JKO steps", "with twice the temperature (control)"
FREE = "free diffusion (control)"


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {"distance-by-step": _distances(result, evidence.parts["flows"], evidence.parts["free"])}


def _frame(flows: xr.Dataset, free: xr.Dataset) -> pd.DataFrame:
    systems = {str(name): flows.sel(arm=name) for name in flows["arm"].values} | {FREE: free}
    rows = []
    for name, flow in systems.items():
        for key, label in (("distance", RIGHT), ("doubled", WRONG)):
            steps, errors = given(flow, key)
            rows.append(
                pd.DataFrame({"system": name, "step": steps, "distance": errors, "by": label})
            )
    return pd.concat(rows)


def _distances(result: dict[str, Any], flows: xr.Dataset, free: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "distance")
    frame = _frame(flows, free)
    low, high = parts.log_range([*frame["distance"], limit])
    first, last = parts.log_range(frame["step"])
    chosen = parts.legend_choice("system")
    kinds = {RIGHT: ([1, 0], "circle"), WRONG: ([5, 4], "triangle-up")}
    base = alt.Chart(data.table(frame)).encode(
        x=parts.log_x("step", "JKO step (time)", first, last, plain=True),
        y=parts.log_y("distance", "L1 distance to (FP)", low, high, plain=True),
        color=alt.Color("system:N", legend=parts.legend("system")),
        opacity=parts.fading(chosen, 0.9),
    )
    tips = parts.tooltip("system:N", "by:N", "step:Q", distance=".4f")
    traces = parts.traces(base, kinds, chosen, 60, tips)
    top = frame.loc[(frame["by"] == RIGHT), "distance"].max()
    longest = frame["step"].max()
    guide = pd.DataFrame({"step": [first * 1.1, longest]})
    guide["distance"] = 1.5 * top * guide["step"] / longest
    order = (
        alt.Chart(data.table(guide))
        .mark_line(style="threshold", clip=True)
        .encode(x="step:Q", y="distance:Q")
    )
    name = (
        alt.Chart(data.table(guide.tail(1)))
        .mark_text(style="threshold-label", align="right", dx=-14, dy=-4, text="slope 1")
        .encode(x="step:Q", y="distance:Q")
    )
    line = parts.horizontal_line(limit, f"rule: at most {limit:g} at the end", "threshold")
    chart = parts.wide(360, *traces, order, name, line)
    slopes = "; ".join(
        f"{a['name']} "
        + wording.estimate(data.statistic(result, a, "slope of log distance against log step"))
        for a in result["arms"]
    )
    wrong = frame.loc[frame["by"] == WRONG, "distance"].min()
    caption = (
        "Largest L1 distance over time between JKO steps and the Fokker–Planck equation, against "
        f"the step. Slopes with their intervals (n steps): {slopes}. JKO is a method of first "
        "order, slope 1. Steps with twice the temperature converge to another equation and stay "
        f"{wording.number(wrong)} away or more."
    )
    return dressed(chart, "JKO steps converge to the Fokker–Planck equation", caption)
