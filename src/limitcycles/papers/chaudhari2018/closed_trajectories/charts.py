"""Charts of Lemma 7: shares that close, distance of the returns, an open and a closed orbit."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("share-closed", "returns", "orbits-3d")


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "share-closed": _shares(result, evidence.parts["trajectories"]),
        "returns": _returns(result, evidence.parts["returns"]),
        "orbits-3d": _orbits(evidence.parts["orbits"]),
    }


def _shares(result: dict[str, Any], paths: xr.Dataset) -> alt.TopLevelMixin:
    strict = data.rule_parameter(result, "strict_distance")
    loose = data.rule_parameter(result, "distance_percent")
    labels = {
        f"within {wording.given(loose)} % of the length": 1,
        f"within {wording.given(strict)} of the length": 0,
    }
    rows = []
    for arm in result["arms"]:
        d = int(paths["dimension"].sel(system=arm["name"]))
        for label, k in labels.items():
            entry = arm["statistics"][k]
            low, high = entry["interval"]
            rows.append(
                {
                    "arm": f"{arm['name']} (d = {d})",
                    "rule": label,
                    "value": entry["value"],
                    "low": low,
                    "high": high,
                    "text": wording.estimate(entry),
                }
            )
    base = alt.Chart(data.table(pd.DataFrame(rows))).encode(
        y=alt.Y("arm:N", title=None, sort=None),
        yOffset=alt.YOffset("rule:N", sort=list(labels)),
        color=alt.Color("rule:N", scale=alt.Scale(domain=list(labels)), legend=parts.legend(None)),
        tooltip=["arm:N", "rule:N", alt.Tooltip("text:N", title="share")],
    )
    axis = alt.Axis(title="trajectories that close (%)", values=[0, 20, 40, 60, 80, 100])
    x = alt.X("value:Q", axis=axis, scale=alt.Scale(domain=[-2, 102], nice=False))
    spans = base.mark_rule(strokeWidth=4, opacity=0.4).encode(
        x=alt.X("low:Q", axis=axis), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, shape=alt.Shape("rule:N", scale=alt.Scale(domain=list(labels)))
    )
    least = data.rule_parameter(result, "closed_percent")
    lines = [
        parts.vertical_line(
            least, f"rule: {wording.given(least)} %", "threshold", y=-6, align="right"
        )
    ]
    chart = parts.wide(360, spans, dots, *lines)
    both = [
        f"{arm['name']} {arm['statistics'][1]['value']:.0f} % and "
        f"{arm['statistics'][0]['value']:.0f} %"
        for arm in result["arms"]
        if not arm["agrees"]
    ]
    caption = (
        "Share of trajectories of ẋ = j(x) that come back to their start in a time of "
        f"{wording.given(data.rule_parameter(result, 'time'))}, with 95 % intervals. The paper: "
        "100 % everywhere. An orbit that winds around a torus comes near its start, and so passes "
        "the first rule, but does not close. Where the strict rule finds too few, by the first and "
        f"the strict rule: {'; '.join(both) or 'nowhere'}."
    )
    return dressed(chart, "Which trajectories close", caption)


def _returns(result: dict[str, Any], returns: xr.Dataset) -> alt.TopLevelMixin:
    floor = 1e-13
    frame = returns[["time", "relative"]].to_dataframe().reset_index().dropna()
    frame["relative"] = frame["relative"].clip(lower=floor)
    low, high = floor / 2, 1.0
    start, end = parts.log_range(frame["time"])
    names = list(returns["system"].values)
    chosen = parts.legend_choice("system")
    base = alt.Chart(data.table(frame[["system", "time", "relative"]])).encode(
        x=parts.log_x("time", "time of the return (units of the system)", start, end, plain=True),
        y=parts.log_y("relative", "distance from the start / length run", low, high),
        color=alt.Color("system:N", scale=alt.Scale(domain=names), legend=parts.legend(None)),
        shape=alt.Shape("system:N", scale=alt.Scale(domain=names)),
        opacity=parts.fading(chosen, 0.9),
        tooltip=parts.tooltip("system:N", time=".1f", relative=".2~e"),
    )
    points = base.mark_point(filled=True, size=40).add_params(chosen)
    loose = data.rule_parameter(result, "distance_percent") / 100
    strict = data.rule_parameter(result, "strict_distance")
    lines = [
        parts.horizontal_line(
            loose, f"rule: {wording.given(100 * loose)} % of the length", "threshold"
        ),
        parts.horizontal_line(strict, f"strict rule: {wording.given(strict)}", "threshold"),
    ]
    chart = parts.wide(340, points, *lines)
    best = {
        name: wording.number(float(returns["relative"].sel(system=name).min())) for name in names
    }
    caption = (
        "Every return of one trajectory of each system, over a time of "
        f"{wording.given(returns.attrs['time'])}. A closed orbit ({names[0]}) is back at once to "
        "within rounding and the integration's error; the others come nearer only because they try "
        "often and their length grows: their nearest returns are "
        f"{', '.join(f'{best[n]} ({n})' for n in names[1:])}."
    )
    return dressed(chart, "How near a trajectory comes back", caption)


def _orbits(orbits: xr.Dataset) -> alt.TopLevelMixin:
    panels = []
    for name, time in zip(
        orbits["system"].values, np.atleast_1d(orbits.attrs["times"]), strict=True
    ):
        frame = orbits.sel(system=name)[["x1", "x2", "x3"]].to_dataframe().reset_index()
        # Seen from above at an angle: x₁ to the right, up a mixture of x₂ and x₃
        frame = pd.DataFrame(
            {
                "step": frame["step"],
                "across": frame["x1"],
                "up": 0.45 * frame["x2"] + 0.9 * frame["x3"],
            }
        )
        line = (
            alt.Chart(data.table(frame))
            .mark_line(strokeWidth=1.2, color=CATEGORY[0])
            .encode(
                x=alt.X("across:Q", title="x₁", axis=alt.Axis(grid=False)),
                y=alt.Y("up:Q", title="0.45 x₂ + 0.9 x₃", axis=alt.Axis(grid=False)),
                order="step:Q",
            )
        )
        start = (
            alt.Chart(data.table(frame[frame["step"] == 0]))
            .mark_point(filled=True, size=90, color=CATEGORY[1], opacity=1)
            .encode(x="across:Q", y="up:Q")
        )
        panels.append(parts.panel(line + start, f"{name}, a time of {time:g}"))
    chart = alt.concat(*panels, columns=2)
    caption = (
        "Two orbits of ẋ = j(x) in three dimensions, both of systems that meet Assumption 4, seen "
        "from above at an angle; the dot is the start. Left: the level sets of Φ are spheres, and "
        "the orbit closes. Right: they are tori; the orbit winds around both ways and never meets "
        "its start again."
    )
    return dressed(chart, "A closed and an open orbit", caption)
