"""Charts of the claim that modes are not critical points (Theorem 22)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("distance-and-prediction", "density-example-19", "density-two-wells")
TITLES = {
    "example-19": "Example 19, λ = 0.5",
    "example-19-strong": "Example 19, λ = 1.5",
    "constant-tensor": "constant D, not isotropic",
    "varying-tensor": "D(x), a full tensor",
}
LEAST = 1e-2  # of the largest density: what is less is left white


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    pairs = (("example-19", "example-19-strong"), ("constant-tensor", "varying-tensor"))
    names = ("Modes and critical points of Example 19", "The same for a loss with two wells")
    return {
        "distance-and-prediction": _distances(result, evidence.parts["systems"]),
        **{
            key: _densities(evidence.parts, pair, title)
            for key, pair, title in zip(NAMES[1:], pairs, names, strict=True)
        },
    }


def _distances(result: dict[str, Any], systems: xr.Dataset) -> alt.TopLevelMixin:
    arms = [arm["name"] for arm in result["arms"]]
    mine = systems.sel(system=arms)
    rows = []
    for name in arms:
        for of, key in (("on the grid", "spacings"), ("predicted by (19)", "predicted_spacings")):
            values = mine[key].sel(system=name).values
            rows += [{"arm": name, "of": of, "value": v} for v in values[~np.isnan(values)]]
    frame = pd.DataFrame(rows)
    frame["drawn"] = frame["value"].clip(lower=0.01)
    low, high = 0.008, 1.6 * frame["drawn"].max()
    order = alt.Scale(domain=["predicted by (19)", "on the grid"])
    sizes = alt.Scale(domain=["predicted by (19)", "on the grid"], range=[190, 50])
    points = (
        alt.Chart(data.table(frame))
        .mark_point(strokeWidth=2)
        .encode(
            x=alt.X(
                "drawn:Q",
                scale=parts.log_scale(low, high),
                axis=parts.log_axis(
                    "distance of a mode from the nearest critical point (grid spacings)",
                    low,
                    high,
                    plain=True,
                ),
            ),
            y=alt.Y("arm:N", title=None, sort=arms, axis=alt.Axis(grid=True)),
            color=alt.Color("of:N", scale=order, legend=parts.legend(None)),
            shape=alt.Shape("of:N", scale=order, legend=parts.legend(None)),
            size=alt.Size("of:N", scale=sizes, legend=None),
            tooltip=parts.tooltip("arm:N", "of:N", value=".3~g"),
        )
    )
    least = data.rule_parameter(result, "spacings")
    none = data.rule_parameter(result, "no_shift_spacings")
    lines = [
        parts.vertical_line(least, f"a shift: at least {least:g}", "threshold", y=-8),
        parts.vertical_line(none, f"no shift: below {none:g}", "threshold", y=-8, align="right"),
    ]
    caption = (
        "One mark a mode (0.01: that or less). Each circle of the prediction has the mark of the "
        "grid in it. Modes move in "
        f"{int((mine['spacings'] >= least).any('which').sum())} of {len(arms)} systems; in the "
        "others (19) predicts that they stay. The largest residual of (19) is "
        f"{wording.number(float(mine['residual'].max()))} of ∇f."
    )
    chart = alt.layer(points, *lines).properties(width=520, height=26 * len(arms))
    return dressed(chart, "Modes move where (19) says", caption)


def _densities(
    measured: dict[str, xr.Dataset], names: tuple[str, ...], title: str
) -> alt.TopLevelMixin:
    panels, facts = [], []
    for name in names:
        system = measured["systems"].sel(system=name)
        panels.append(_panel(measured["maps"].sel(drawn=name), system, TITLES[name]))
        facts.append(f"{wording.number(float(system['distance'].max()))} ({TITLES[name]})")
    caption = (
        "Steady density (darker: likelier). If likely weights were critical points, each cross "
        "would have a circle around it. The modes are this far from the nearest zero of the drift: "
        f"{', '.join(facts)}, in units of x."
    )
    together = alt.hconcat(*panels).resolve_scale(color="independent", shape="shared")
    return dressed(together, title, caption)


def _panel(picture: xr.Dataset, system: xr.Dataset, title: str) -> alt.LayerChart:
    x, y, density = (picture[key].values for key in ("x", "y", "density"))
    half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    i, k = np.nonzero(density > LEAST * density.max())
    cells = pd.DataFrame(
        {
            "x": (x[i] - half[0]).round(3),
            "x2": (x[i] + half[0]).round(3),
            "y": (y[k] - half[1]).round(3),
            "y2": (y[k] + half[1]).round(3),
            "density": (density[i, k] / density.max()).round(3),
        }
    )
    across = alt.Scale(domain=[float(x[i].min() - 0.2), float(x[i].max() + 0.2)], nice=False)
    up = alt.Scale(domain=[float(y[k].min() - 0.2), float(y[k].max() + 0.2)], nice=False)
    field = (
        alt.Chart(data.table(cells))
        .mark_rect(strokeWidth=0)
        .encode(
            x=alt.X("x:Q", title="x₁", scale=across),
            x2="x2",
            y=alt.Y("y:Q", title="x₂", scale=up),
            y2="y2",
            color=alt.Color("density:Q", scale=alt.Scale(scheme="blues"), legend=None),
        )
    )
    places = []
    for of, key in (("mode of ρ^ss", "mode"), ("zero of the drift", "critical")):
        points = system[key].values
        places += [{"of": of, "x": p[0], "y": p[1]} for p in points if not np.isnan(p[0])]
    order = ["mode of ρ^ss", "zero of the drift"]
    marks = (
        alt.Chart(data.table(pd.DataFrame(places)))
        .mark_point(size=130, strokeWidth=2.5, color="#D55E00", opacity=1)
        .encode(
            x=alt.X("x:Q", scale=across),
            y=alt.Y("y:Q", scale=up),
            shape=alt.Shape(
                "of:N",
                scale=alt.Scale(domain=order, range=["cross", "circle"]),
                legend=parts.legend(None),
            ),
            tooltip=parts.tooltip("of:N", x=".3f", y=".3f"),
        )
    )
    chart = alt.layer(field, marks)
    return chart.properties(title=alt.Title(title, fontSize=13), width=310, height=310)
