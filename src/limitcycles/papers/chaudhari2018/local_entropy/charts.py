"""Charts of local entropy: masses and depths against curvature, f_γ along a line, the saddle."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("sharp-to-wide", "sections", "saddle")
SHOWN = (0.0, 0.01, 0.1, 1.0)  # γ
PANEL = 290


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "sharp-to-wide": _ratios(evidence.parts["wells"]),
        "sections": _sections(evidence.parts["sections"]),
        "saddle": _saddle(result, evidence.parts["saddle"]),
    }


def _named(gammas) -> tuple[list[float], list[str]]:
    shown = [float(g) for g in gammas if any(np.isclose(g, s) for s in SHOWN)]
    return shown, [f"γ = {g:g}" + (" (not smoothed)" if g == 0 else "") for g in shown]


def _ratios(wells: xr.Dataset) -> alt.TopLevelMixin:
    shown, names = _named(wells["gamma"].values)
    chosen, panels = parts.legend_choice("gamma"), []
    d = 2
    mine = wells.sel(dimension=d, gamma=shown)
    ratio = wells["ratio"].values
    low, high = parts.log_range(mine["mass"].values.ravel())
    high = max(high, 1.6)
    for title, values in (
        ("mass of the sharp well / wide well", mine["mass"]),
        ("density at the bottom, sharp / wide", np.exp(-mine["depth"])),
    ):
        frame = values.to_dataframe("value").reset_index()[["gamma", "ratio", "value"]]
        frame["gamma"] = frame["gamma"].map(dict(zip(shown, names, strict=True)))
        x = alt.X(
            "ratio:Q",
            scale=parts.log_scale(*parts.log_range(ratio)),
            axis=alt.Axis(title="ratio of curvatures r", values=list(ratio), format="d"),
        )
        y = parts.log_y("value", title, low, high, plain=True)
        base = alt.Chart(data.table(frame)).encode(
            x=x,
            y=y,
            color=alt.Color("gamma:N", scale=alt.Scale(domain=names), legend=parts.legend(None)),
            shape=alt.Shape("gamma:N", scale=alt.Scale(domain=names)),
            opacity=parts.fading(chosen, 0.9),
            tooltip=parts.tooltip("gamma:N", "ratio:Q", value=".3~g"),
        )
        marks = base.mark_line(strokeWidth=1.3) + base.mark_point(filled=False, size=70)
        layers = [marks]
        if len(panels) == 0:
            layers = [*_exponential(mine["mass"].isel(gamma=0).values, ratio, low, x, y), marks]
        panel = parts.panel(alt.layer(*layers), title.partition(" ")[0])
        panels.append(panel.properties(width=PANEL, height=PANEL))
    chart = parts.panels(panels, chosen)
    slope = float(mine["slope"].isel(gamma=-1))
    bare = float(mine["slope"].isel(gamma=0))
    caption = (
        "A sharp and a wide Gaussian well of equal depth in two dimensions, at several γ. Left: "
        f"the mass under e^(−f_γ) falls with the slope {wording.number(slope)} at γ = "
        f"{shown[-1]:g}, and {wording.number(bare)} without smoothing: all lines lie on each "
        "other, as smoothing moves no mass from well to well. Right: what smoothing changes is "
        "how high the density is at the bottom of the sharp well. Dotted: an exponential in r "
        "through the first two masses."
    )
    return dressed(chart, "Sharp against wide minima", caption)


def _exponential(masses: np.ndarray, ratio: np.ndarray, low: float, x, y) -> list[alt.Chart]:
    """The exponential in r through the first two masses, down to `low`, with its label."""
    rate = -np.log(masses[1] / masses[0]) / (ratio[1] - ratio[0])
    fine = np.geomspace(ratio[0], ratio[-1], 60)
    fall = pd.DataFrame({"ratio": fine, "value": masses[0] * np.exp(-rate * (fine - ratio[0]))})
    fall = fall[fall["value"] >= low]
    line = alt.Chart(data.table(fall)).mark_line(style="threshold", strokeDash=[2, 3])
    text = alt.Chart(data.table(fall.tail(1))).mark_text(
        style="threshold-label", text="an exponential", align="left", dx=5, dy=-6
    )
    return [line.encode(x=x, y=y), text.encode(x=x, y=y)]


def _sections(sections: xr.Dataset) -> alt.TopLevelMixin:
    shown, names = _named(sections["gamma"].values)
    mine = sections.sel(gamma=shown)
    mine = mine.sel(x=mine["x"][np.abs(mine["x"]) <= 9])
    step = max(1, mine.sizes["x"] // 300)
    frame = mine["f"].isel(x=slice(None, None, step)).to_dataframe().reset_index()
    frame["gamma"] = frame["gamma"].map(dict(zip(shown, names, strict=True)))
    top = 6.0
    frame["f"] = frame["f"].clip(upper=2 * top)
    ratio = float(sections.attrs["ratio"])
    chosen = parts.legend_choice("gamma")
    chart = (
        alt.Chart(data.table(frame[["gamma", "x", "f"]]))
        .mark_line(strokeWidth=2, clip=True)
        .encode(
            x=alt.X("x:Q", title="x₁", scale=alt.Scale(domain=[-9, 9], nice=False)),
            y=alt.Y("f:Q", title="f_γ", scale=alt.Scale(domain=[0, top], nice=False)),
            color=alt.Color("gamma:N", scale=alt.Scale(domain=names), legend=parts.legend(None)),
            strokeDash=alt.StrokeDash(
                "gamma:N",
                scale=alt.Scale(domain=names, range=[[1, 0], [8, 3], [4, 3], [2, 2]][: len(names)]),
                legend=parts.legend(None),
            ),
            opacity=parts.fading(chosen),
        )
        .add_params(chosen)
        .properties(width=parts.WIDE, height=280)
    )
    last = sections["f"].sel(gamma=shown[-1]).values
    half = len(last) // 2
    rise = float(last[:half].min() - last[half:].min())
    caption = (
        f"f_γ along the line through a sharp well (left, curvature {ratio:g}) and a wide one "
        "(right, curvature 1). Smoothing fills the sharp well: at γ = "
        f"{shown[-1]:g} its bottom lies {wording.number(rise)} above the other; in closed form "
        "½ log((1 + rγ)/(1 + γ)) = "
        f"{wording.number(0.5 * np.log((1 + ratio * shown[-1]) / (1 + shown[-1])))}."
    )
    return dressed(chart, "What smoothing does to a sharp and a wide well", caption)


def _saddle(result: dict[str, Any], saddle: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "quantile")
    names = {
        "quantile": "saddle, box [−1.5, 1.5]²",
        "wide_quantile": "saddle, box [−3.5, 3.5]²",
        "well_quantile": "wells, box [−1.5, 1.5]²",
    }
    smooth = saddle.sel(gamma=saddle["gamma"][saddle["gamma"] > 0])
    frame = smooth[list(names)].rename(names).to_dataframe().reset_index()
    frame = frame.melt("gamma", var_name="what", value_name="quantile")
    low, high = parts.log_range(frame["gamma"])
    base = alt.Chart(data.table(frame)).encode(
        x=parts.log_x("gamma", "γ (square of the smoothing length)", low, high, plain=True),
        y=alt.Y(
            "quantile:Q",
            title="share of the box with a lower f_γ",
            scale=alt.Scale(domain=[-0.02, 0.62], nice=False),
        ),
        color=alt.Color(
            "what:N",
            scale=alt.Scale(domain=list(names.values()), range=CATEGORY[:3]),
            legend=parts.legend(None),
        ),
        shape=alt.Shape("what:N", scale=alt.Scale(domain=list(names.values()))),
        tooltip=parts.tooltip("what:N", "gamma:Q", quantile=".3f"),
    )
    marks = base.mark_line(strokeWidth=1.5) + base.mark_point(filled=True, size=60)
    line = parts.horizontal_line(limit, f"rule: below {wording.given(limit)}", "threshold")
    chart = parts.wide(280, line, marks)
    bare = float(saddle["quantile"].sel(gamma=0.0))
    last = smooth.isel(gamma=-1)
    caption = (
        "Example 19, f = Φ: how low f_γ is at the saddle, compared with the rest of a box. Without "
        f"smoothing {wording.number(bare)} of the small box is lower; at γ = "
        f"{float(last['gamma']):g} it is {wording.number(float(last['quantile']))}, and the wells "
        f"have risen to {wording.number(float(last['well_quantile']))}: a wide smoothing sees one "
        "well, with its bottom where the saddle was."
    )
    return dressed(chart, "Local entropy at the saddle", caption)
