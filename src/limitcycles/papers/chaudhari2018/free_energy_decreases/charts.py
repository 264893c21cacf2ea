"""Charts of the decrease of the free energy."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("free-energy", "dissipation")
LEAST = 1e-14  # of F at the start, below which there is only rounding
RIGHT, WRONG = "F", "T · KL to the steady density shifted by one deviation (control)"
MATRIX, FISHER = "−dF/dt", "relative Fisher information"


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    finest = evidence.parts["steps"].sel(cells=evidence.parts["steps"]["cells"].values.max())
    return {"free-energy": _fall(result, finest), "dissipation": _rates(finest)}


def _frame(steps: xr.Dataset, names: dict[str, str], relative: bool) -> pd.DataFrame:
    """One row for each system, step and one of the `names`; over F at the start if `relative`."""
    rows = []
    for name, label in names.items():
        values = steps[name] / steps["free_energy"].isel(step=0) if relative else steps[name]
        frame = xr.Dataset({"time": steps["time"], "value": values}).to_dataframe().reset_index()
        rows.append(frame[["system", "time", "value"]].assign(by=label))
    return pd.concat(rows).dropna()


def _fall(result: dict[str, Any], steps: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "end")
    frame = _frame(steps, {"free_energy": RIGHT, "shifted_free_energy": WRONG}, relative=True)
    frame = frame[frame["value"] > LEAST]
    low, high = LEAST, parts.log_range(frame["value"])[1]
    chosen = parts.legend_choice("system")
    dashes = alt.Scale(domain=[RIGHT, WRONG], range=[[1, 0], [5, 4]])
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X("time:Q", title="time", scale=alt.Scale(nice=False)),
        y=parts.log_y("value", "F / F at the start", low, high),
        color=alt.Color("system:N", legend=parts.legend("system")),
        opacity=parts.fading(chosen, 0.9),
    )
    lines = base.mark_line(strokeWidth=1.5).encode(
        strokeDash=alt.StrokeDash("by:N", scale=dashes, legend=parts.legend(None, True, below=True))
    )
    points = (
        base.transform_filter(alt.datum.by == RIGHT)
        .mark_point(filled=True, size=22)
        .encode(
            tooltip=parts.tooltip("system:N", "time:Q", value=".3e"),
        )
    )
    line = parts.horizontal_line(limit, f"rule: ends below {wording.given(limit)}", "threshold")
    chart = parts.wide(380, lines, points.add_params(chosen), line)
    arms = [
        (data.statistic(result, a, "largest F at the end over F at the start"), a)
        for a in result["arms"]
    ]
    worst = max(entry["value"] for entry, _ in arms)
    caption = (
        "Free energy at every time step of (FP), one point a step, over its value at the start. It "
        f"falls at each step and ends at {wording.number(worst)} of its start or less, with and "
        "without a current. Dashed: the same densities compared with a density that is not steady, "
        "which neither falls at each step nor ends at zero."
    )
    return dressed(chart, "The free energy falls to zero", caption)


def _rates(steps: xr.Dataset) -> alt.TopLevelMixin:
    frame = _frame(steps, {"rate": MATRIX, "fisher": FISHER}, relative=True)
    frame = frame[frame["value"] > LEAST]
    low, high = parts.log_range(frame["value"])
    chosen = parts.legend_choice("system")
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X("time:Q", title="time", scale=alt.Scale(nice=False)),
        y=parts.log_y("value", "rate / F at the start (per unit time)", low, high),
        color=alt.Color("system:N", legend=parts.legend("system")),
        opacity=parts.fading(chosen, 0.9),
    )
    kinds = [MATRIX, FISHER]
    shown = alt.Shape(
        "by:N",
        scale=alt.Scale(domain=kinds, range=["stroke", "circle"]),
        legend=parts.legend(None, values=kinds, below=True),
    )
    lines = base.transform_filter(alt.datum.by == MATRIX).mark_line(strokeWidth=1.5)
    points = base.mark_point(size=34).encode(
        shape=shown,
        opacity=alt.when(alt.datum.by == FISHER).then(alt.value(0.9)).otherwise(alt.value(0)),
    )
    chart = parts.wide(320, lines.add_params(chosen), points)
    rate, fisher = steps["rate"], steps["fisher"]
    error = float((np.abs(rate - fisher).max("step") / rate.max("step")).max())
    caption = (
        "How fast F falls. Lines: −dF/dt from the matrix of the solver. Circles: the relative "
        "Fisher information T² ∫ρ ∇log(ρ/ρ^ss)·D∇log(ρ/ρ^ss), never negative, from gradients. "
        f"They differ by at most {wording.number(100 * error)} % of the largest rate of a system."
    )
    return dressed(chart, "Rate of the decrease", caption)
