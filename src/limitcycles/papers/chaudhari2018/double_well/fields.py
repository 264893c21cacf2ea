"""Figure 4 of the paper drawn again, and the orbits of Example 19 with a slider for λ."""

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording

ARROW = "M0,-1L0.35,-0.35L0.09,-0.35L0.09,1L-0.09,1L-0.09,-0.35L-0.35,-0.35Z"
FLOOR = -6.0  # of log(ρ/max ρ) in the colours
HEIGHT = 280
MARKS = ("stable point of −∇f", "other critical point of −∇f", "mode of the steady density")
SHAPES = ("circle", "cross", "triangle-up")
COLOURS = (CATEGORY[1], CATEGORY[4], CATEGORY[2])


def figure_4(measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    """Density (colour), direction of −∇f (arrows), its critical points and the modes of ρ^ss."""
    shown = measured["pictures"]
    panels = [
        _field(measured, float(lam), float(t))
        for lam in shown["lam"]
        for t in shown["shown"].values
    ]
    chart = alt.concat(*panels, columns=2).resolve_scale(
        color="shared", shape="shared", fill="shared"
    )
    noise = measured["noise"]
    warm, cold = (float(t) for t in shown["shown"].values)
    distances = ", ".join(
        f"{wording.number(float(noise['from_wells'].sel(lam=1.5, temperature=t)))} at T = {t:g}"
        for t in (warm, cold)
    )
    caption = (
        "Steady density of Example 19 (dark: likely), direction of −∇f (arrows), its critical "
        "points, and the modes of the density, where SGD is most likely found. "
        f"At T = {warm:g} the density is e^(−Φ) for every λ, although the wells of the "
        "drift shift and, at λ = 1.5, meet at the origin; the modes stay at the wells of Φ. At "
        f"T = {cold:g} the modes move. Distance of the highest mode from the nearest well "
        f"of Φ at λ = 1.5: {distances}."
    )
    return dressed(chart, "Figure 4 again: density, drift, critical points", caption)


def _field(measured: dict[str, xr.Dataset], lam: float, temperature: float) -> alt.TopLevelMixin:
    pictures = measured["pictures"].sel(lam=lam)
    half = pictures.attrs["half"]
    logs = pictures["log_density"].sel(shown=temperature).clip(FLOOR, 0).round(1)
    pixels = logs.to_dataframe("log").reset_index()[["u", "v", "log"]]
    pixels = pixels[pixels["log"] > FLOOR]
    side = 1.03 * half / pictures.sizes["u"]  # a little overlap, or the page shows between them
    frame = pixels.assign(a=pixels["u"] - side, b=pixels["u"] + side)
    frame = frame.assign(c=pixels["v"] - side, d=pixels["v"] + side)
    scale = alt.Scale(domain=[-half, half], nice=False)
    x = alt.X("a:Q", scale=scale, axis=alt.Axis(title="x₁", tickCount=5, grid=False))
    y = alt.Y("c:Q", scale=scale, axis=alt.Axis(title="x₂", tickCount=5, grid=False))
    colour = alt.Fill(  # a scale of its own: the marks have colours too
        "log:Q",
        scale=alt.Scale(domain=[FLOOR, 0], range=["#ffffff", "#c9dcee", "#6a9fd0"]),
        legend=None,
    )
    map_ = (
        alt.Chart(data.table(frame.drop(columns=["u", "v"]).round(3)))
        .mark_rect(strokeWidth=0, aria=False)
        .encode(x=x, x2="b:Q", y=y, y2="d:Q", fill=colour)
    )
    drift = pictures[["drift1", "drift2"]].to_dataframe().reset_index()
    drift["angle"] = (90 - np.degrees(np.arctan2(drift["drift2"], drift["drift1"]))) % 360
    arrows = (
        alt.Chart(data.table(drift[["arrow1", "arrow2", "angle"]].round(3)))
        .mark_point(shape=ARROW, filled=True, aria=False, size=200, opacity=0.8, color="#39424e")
        .encode(
            x=alt.X("arrow1:Q", scale=scale, title="x₁"),
            y=alt.Y("arrow2:Q", scale=scale, title="x₂"),
            angle=alt.Angle("angle:Q", scale=alt.Scale(domain=[0, 360], range=[0, 360])),
        )
    )
    marks = (
        alt.Chart(data.table(_places(measured, lam, temperature)))
        .mark_point(filled=True, size=110, opacity=1, stroke="#ffffff", strokeWidth=0.8)
        .encode(
            x=alt.X("x1:Q", scale=scale, title="x₁"),
            y=alt.Y("x2:Q", scale=scale, title="x₂"),
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(MARKS), range=list(COLOURS)),
                legend=alt.Legend(title=None, symbolOpacity=1),
            ),
            shape=alt.Shape(
                "what:N",
                scale=alt.Scale(domain=list(MARKS), range=list(SHAPES)),
                legend=alt.Legend(title=None, symbolOpacity=1),
            ),
            tooltip=[
                "what:N",
                alt.Tooltip("x1:Q", format=".3f"),
                alt.Tooltip("x2:Q", format=".3f"),
            ],
        )
    )
    return alt.layer(map_, arrows, marks).properties(
        title=alt.Title(f"λ = {lam:g}, T = {temperature:g}", fontSize=13),
        width=HEIGHT,
        height=HEIGHT,
    )


def _places(measured: dict[str, xr.Dataset], lam: float, temperature: float) -> pd.DataFrame:
    points = measured["points"].sel(sweep=lam, method="nearest")
    rows = [
        {
            "x1": float(point["x1"]),
            "x2": float(point["x2"]),
            "what": MARKS[0] if str(point["kind"].item()) != "saddle" else MARKS[1],
        }
        for point in (points.isel(point=k) for k in range(points.sizes["point"]))
        if point["kind"].item()
    ]
    noise = measured["noise"].sel(lam=lam, temperature=temperature)
    rows += [
        {"x1": float(a), "x2": float(b), "what": MARKS[2]}
        for a, b in zip(noise["mode1"].values, noise["mode2"].values, strict=True)
        if np.isfinite(a)
    ]
    return pd.DataFrame(rows)


def orbits(measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    """Paths of −∇f from a ring of starts; a slider chooses λ, a click on the legend the start."""
    pictures = measured["pictures"]
    frame = (
        pictures[["orbit1", "orbit2"]]
        .rename(orbit_lam="lam", orbit1="x1", orbit2="x2")
        .to_dataframe()
        .reset_index()
        .dropna()
    )
    frame["start"] = frame["start"].map(lambda k: f"start {k + 1}")
    frame = frame[["lam", "start", "step", "x1", "x2"]].round({"x1": 3, "x2": 3})
    lambdas = pictures["orbit_lam"].values
    slider = alt.binding_range(
        min=float(lambdas[0]), max=float(lambdas[-1]), step=float(lambdas[1]), name="λ "
    )
    strength = alt.param("strength", value=1.5, bind=slider)
    chosen = alt.selection_point(name="chosen", fields=["start"], bind="legend")
    half = pictures.attrs["half"]
    scale = alt.Scale(domain=[-half, half], nice=False)
    base = (
        alt.Chart(data.table(frame))
        .transform_filter("abs(datum.lam - strength) < 1e-6")
        .encode(
            x=alt.X("x1:Q", scale=scale, title="x₁"),
            y=alt.Y("x2:Q", scale=scale, title="x₂"),
            color=alt.Color(
                "start:N", legend=alt.Legend(title="click: one start", symbolOpacity=1)
            ),
            opacity=alt.when(chosen).then(alt.value(0.95)).otherwise(alt.value(0.06)),
        )
    )
    paths = base.mark_line(strokeWidth=1.6).encode(order="step:Q", detail="start:N")
    begins = base.transform_filter("datum.step == 0").mark_point(filled=True, size=70)
    ends = base.transform_joinaggregate(last="max(step)", groupby=["start", "lam"])
    ends = ends.transform_filter("datum.step == datum.last").mark_point(
        shape="diamond", size=110, strokeWidth=2
    )
    chart = (
        alt.layer(paths, begins, ends)
        .add_params(strength, chosen)
        .properties(width=420, height=420)
    )
    caption = (
        "Paths of ẋ = −∇f in Example 19 from six starts (dots) over a time of "
        f"{pictures.attrs['time']:g}; diamonds are where they have come to. Move the slider: up "
        "to λ = 0.78 paths end in one of two wells, beyond they wind into the origin, ever more "
        "slowly. For no λ does one run on a closed orbit. A click on the legend keeps one start."
    )
    return dressed(chart, "Orbits: choose λ", caption)
