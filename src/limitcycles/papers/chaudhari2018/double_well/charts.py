"""Charts of Example 19: Figure 4 again, orbits, bifurcation diagram, return map."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.double_well.fields import figure_4, orbits

NAMES = ("figure-4", "orbits", "bifurcations", "return-map")
KINDS = ("stable node", "stable focus", "weak focus", "saddle")


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "figure-4": figure_4(evidence.parts),
        "orbits": orbits(evidence.parts),
        "bifurcations": _bifurcations(result, evidence.parts),
        "return-map": _return_map(evidence.parts),
    }


def _bifurcations(result: dict[str, Any], measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    points = measured["points"]
    frame = points[["x1", "kind"]].to_dataframe().reset_index().dropna()
    frame["kind"] = frame["kind"].replace("centre", "weak focus")
    # The two wells are mirror images: the first coordinate tells them apart
    scale = alt.Scale(domain=list(KINDS), range=[CATEGORY[0], CATEGORY[2], CATEGORY[1], "#6b7480"])
    dots = (
        alt.Chart(data.table(frame[["sweep", "x1", "kind"]]))
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(
            x=alt.X("sweep:Q", title="λ", scale=alt.Scale(nice=False)),
            y=alt.Y(
                "x1:Q",
                title="x₁ of the critical points of f",
                scale=alt.Scale(domain=[-1.4, 1.4], nice=False),
            ),
            color=alt.Color("kind:N", scale=scale, legend=parts.legend("kind")),
            shape=alt.Shape(
                "kind:N",
                scale=alt.Scale(
                    domain=list(KINDS), range=["square", "circle", "triangle-up", "cross"]
                ),
            ),
            tooltip=["sweep:Q", alt.Tooltip("x1:Q", format=".4f"), "kind:N"],
        )
    )
    lines = [
        parts.vertical_line(
            item["value"],
            f"paper: {item['value']:g}",
            y=12,
            align="right" if item["value"] == 1.5 else "left",
        )
        for item in result["paper"]
    ]
    focus, meeting = (float(value) for value in points.attrs["changes"])
    lines.append(parts.vertical_line(focus, f"foci from {focus:.3f}", "threshold", y=288))
    lines.append(parts.vertical_line(meeting, f"wells meet at {meeting:.4f}", "threshold", y=288))
    chart = parts.wide(300, *lines, dots)
    exact = measured["orbits"].attrs["pitchfork"]
    caption = (
        "Critical points of f in Example 19 as λ grows (mirror images below and above). The wells "
        f"leave (±1, 0) at once, turn from nodes into foci at λ = {focus:.3f} and meet at the "
        f"origin at {meeting:.4f} (e^(−1/4) = {exact:.4f}); beyond, the only critical point is a "
        "weakly attracting focus. No limit cycle appears anywhere."
    )
    return dressed(chart, "Critical points as λ grows", caption)


def _return_map(measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    names = {"lambda-1.5": "Example 19, λ = 1.5", "hopf_ring": "ring with a known cycle (control)"}
    frame = measured["turns"].to_dataframe().reset_index().dropna()
    frame = pd.DataFrame(
        {
            "s": frame["s"],
            "change": 100 * frame["relative"].clip(upper=3),
            "flow": frame["flow"].map(names),
        }
    )
    frame = frame[frame["change"] <= 100]
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X("s:Q", title="distance from the origin before the turn (length of x)"),
        y=alt.Y("change:Q", title="change of the distance in one turn (%)"),
        color=alt.Color(
            "flow:N", scale=alt.Scale(domain=list(names.values())), legend=parts.legend(None)
        ),
        shape=alt.Shape("flow:N", scale=alt.Scale(domain=list(names.values()))),
        tooltip=parts.tooltip("flow:N", s=".3f", change=".3~g"),
    )
    drawn = base.mark_line(strokeWidth=1.5).encode(detail="flow:N") + base.mark_point(
        filled=True, size=45
    )
    zero = parts.horizontal_line(0.0, "0: a closed orbit", "threshold")
    chart = parts.wide(300, zero, drawn)
    turns = measured["turns"]["relative"].sel(flow="lambda-1.5").values
    ring = measured["turns"].sel(flow="hopf_ring")
    s, values = ring["s"].values, ring["relative"].values
    cut = int(np.flatnonzero(np.diff(np.sign(values)))[0])
    place = s[cut] - values[cut] * (s[cut + 1] - s[cut]) / (values[cut + 1] - values[cut])
    largest = 100 * float(np.nanmax(turns))
    caption = (
        "How much nearer to the origin a path of −∇f is after one turn. A limit cycle is where the "
        f"curve crosses 0: the ring's does, at {wording.number(float(place), 2)} (known: 1). "
        "Example 19 at λ = 1.5 stays below 0 everywhere: every turn leads inwards, by at least "
        f"{wording.number(-largest)} % of the distance."
    )
    return dressed(chart, "Return map: does a turn come back to its start?", caption)
