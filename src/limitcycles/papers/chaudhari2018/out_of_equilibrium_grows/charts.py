"""Chart of the claim that the effect grows with the temperature (Remarks 25, 26)."""

from typing import Any

import altair as alt
import numpy as np
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("distance",)
CONTROLS = {"line": "one dimension (control)", "still": "D = I (control)"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Chart of the claim, from its measurement."""
    shifts = xr.concat([evidence.parts["shifts"], evidence.parts["wide_shifts"]], "temperature")
    return {"distance": _distances(result, shifts.sortby("temperature"))}


def _distances(result: dict[str, Any], shifts: xr.Dataset) -> alt.TopLevelMixin:
    names = [arm["name"] for arm in result["arms"]]
    frame = shifts.sel(system=[*names, *CONTROLS]).to_dataframe().reset_index()
    frame["label"] = frame["system"].map(lambda name: CONTROLS.get(name, name))
    floor = 10 ** np.floor(np.log10(float(frame["distance"][frame["system"] != "still"].min())) - 1)
    frame["drawn"] = frame["distance"].clip(lower=floor)
    frame["expected"] = frame["predicted"].where(frame["predicted"] > 0)
    low, high = floor / 1.5, 1.8 * frame["drawn"].max()
    x_low, x_high = parts.log_range(frame["temperature"])
    chosen = parts.legend_choice("label")
    domain = alt.Scale(domain=list(dict.fromkeys(frame["label"])))
    base = alt.Chart(data.table(frame.drop(columns="system"))).encode(
        x=parts.log_x("temperature", "temperature T = β⁻¹", x_low, x_high, plain=True),
        color=alt.Color("label:N", scale=domain, legend=parts.legend(None)),
        opacity=parts.fading(chosen),
    )
    scale = parts.log_scale(low, high)
    title = "distance of a mode from the critical point (units of x)"
    y = alt.Y("drawn:Q", scale=scale, axis=parts.log_axis(title, low, high))
    points = base.mark_point(size=90, strokeWidth=2).encode(
        y=y,
        shape=alt.Shape("label:N", scale=domain, legend=parts.legend(None)),
        tooltip=parts.tooltip("label:N", distance=".4~g", error=".2~g"),
    )
    lines = (
        base.mark_line(strokeDash=[5, 4], strokeWidth=1.3)
        .transform_filter("isValid(datum.expected)")
        .encode(y=alt.Y("expected:Q", scale=scale, title=title))
    )
    still = shifts["distance"].sel(system="still")
    facts = []
    for arm in result["arms"]:
        own = arm["statistics"][0]
        low_high = wording.interval(own["interval"])
        if own["name"].startswith("slope"):
            facts.append(f"{arm['name']} {wording.number(own['value'])} {low_high}")
        else:
            facts.append(f"{arm['name']} no shift")
    caption = (
        f"Slopes on these axes with {wording.percent(data.rule_parameter(result, 'level'))} "
        f"intervals: {', '.join(facts)}. Dashed: the shift to first order in T, slope 1, and the "
        "closed form of the control in one dimension. With D = I modes stay at the critical points "
        f"(drawn at {wording.given(floor)}; {wording.number(float(still.max()))} at most)."
    )
    chart = alt.layer(lines, points.add_params(chosen))
    return dressed(
        chart.properties(width=parts.WIDE, height=360),
        "Modes move away from the critical points as T grows",
        caption,
    )
