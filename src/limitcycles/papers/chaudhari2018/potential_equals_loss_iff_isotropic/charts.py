"""Charts of the claim that Φ = f, and j = 0, just where D = cI (Lemma 6)."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("named-systems", "residual-against-force", "force-against-commutator")
FLOOR = 1e-6  # what is smaller, rounding and exact zeros, is drawn here
ORDER = ("isotropic", "commuting", "non-commuting", "varying", "exact-cases")


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "named-systems": _named(result, evidence.parts["named"]),
        "residual-against-force": _scatter(result, evidence.parts),
        "force-against-commutator": _commutator(evidence.parts["random"]),
    }


def _bounds(result: dict[str, Any]) -> dict[str, float]:
    return {key: data.rule_parameter(result, key) for key in ("zero", "not_zero")}


def _named(result: dict[str, Any], named: xr.Dataset) -> alt.TopLevelMixin:
    frame = named[["residual", "force", "family"]].to_dataframe().reset_index()
    long = frame.melt(["system", "family"], var_name="of", value_name="value")
    long["of"] = long["of"].map({"residual": "Φ differs from f", "force": "force ‖j‖/‖∇f‖"})
    long["drawn"] = long["value"].clip(lower=FLOOR)
    long["label"] = long["system"].str.replace("_", " ").str.replace("gradient ", "")
    long["label"] = long["family"] + ": " + long["label"]
    order = list(dict.fromkeys(long["label"]))
    base = alt.Chart(data.table(long)).encode(
        x=parts.log_x("drawn", "size (10⁻⁶: that or less)", FLOOR / 2, 2),
        y=alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=340, grid=True)),
        color=alt.Color("of:N", legend=parts.legend(None)),
        shape=alt.Shape("of:N", legend=parts.legend(None)),
        tooltip=parts.tooltip("system:N", "of:N", value=".3~g"),
    )
    points = base.mark_point(filled=True, size=90, opacity=0.9)
    bounds = _bounds(result)
    lines = [
        parts.vertical_line(bounds["zero"], "zero", "threshold", y=-8, align="right"),
        parts.vertical_line(bounds["not_zero"], "not zero", "threshold", y=-8),
    ]
    others = frame[frame["family"] != "isotropic"]
    still = int((others["force"] < bounds["not_zero"]).sum())
    same = int((others["residual"] < bounds["not_zero"]).sum())
    caption = (
        "Lemma 6 says: both marks at the left where D = cI (the first rows), both at the right "
        f"elsewhere. But {still} of {len(others)} systems whose D is not cI have no force, because "
        "D commutes with the Hessian or fits f in another way, and in "
        f"{same} of them Φ is even proportional to f."
    )
    chart = alt.layer(points, *lines).properties(width=440, height=310)
    return dressed(chart, "Φ against f, and the force, in named systems", caption)


def _scatter(result: dict[str, Any], measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    drawn = measured["random"][["residual", "force"]].to_dataframe().reset_index()
    drawn["name"] = "random, d = " + drawn["dimension"].astype(str)
    named = measured["named"][["residual", "force", "family"]].to_dataframe().reset_index()
    named = named.rename(columns={"system": "name"})
    columns = ["family", "name", "residual", "force"]
    frame = pd.concat([drawn[columns], named[columns]])
    for key in ("residual", "force"):
        frame[key] = frame[key].clip(lower=FLOOR)
    low, high = FLOOR / 2, 5.0
    chosen = parts.legend_choice("family")
    order = alt.Scale(domain=list(ORDER))
    points = (
        alt.Chart(data.table(frame))
        .mark_point(size=45, strokeWidth=1.5)
        .encode(
            x=parts.log_x("force", "force ‖j‖/‖∇f‖ (10⁻⁶: that or less)", low, high),
            y=parts.log_y("residual", "Φ differs from f (10⁻⁶: that or less)", low, high),
            color=alt.Color("family:N", scale=order, legend=parts.legend(None)),
            shape=alt.Shape("family:N", scale=order, legend=parts.legend(None)),
            opacity=parts.fading(chosen, 0.8),
            tooltip=["name:N", "family:N"],
        )
        .add_params(chosen)
    )
    limit = data.rule_parameter(result, "not_zero")
    lines = [
        parts.vertical_line(limit, "not zero", "threshold", align="right"),
        parts.horizontal_line(limit, "not zero", "threshold"),
    ]
    quiet = frame[(frame["family"] == "commuting")]
    caption = (
        "If the lemma held in both directions, points would lie at the lower left (D = cI) or at "
        f"the upper right (all others). The {len(quiet)} systems whose D commutes with the Hessian "
        "lie at the upper left: Φ is not f, and yet there is no force."
    )
    chart = parts.wide(340, points, *lines)
    return dressed(chart, "Does a Φ that is not f mean a force?", caption)


def _commutator(drawn: xr.Dataset) -> alt.TopLevelMixin:
    rest = drawn.sel(family="non-commuting", drop=True)
    frame = rest[["force", "residual", "commutator"]].to_dataframe().reset_index()
    frame["dimension"] = frame["dimension"].map("d = {}".format)
    x_low, x_high = parts.log_range(frame["commutator"])
    low, high = parts.log_range(frame["force"])
    points = (
        alt.Chart(data.table(frame))
        .mark_point(size=50, strokeWidth=1.5)
        .encode(
            x=parts.log_x("commutator", "‖FD − DF‖ / 2‖FD‖", x_low, x_high),
            y=parts.log_y("force", "force ‖j‖/‖∇f‖", low, high),
            color=alt.Color("dimension:N", legend=parts.legend(None)),
            shape=alt.Shape("dimension:N", legend=parts.legend(None)),
            tooltip=parts.tooltip("dimension:N", "system:N", residual=".3~g"),
        )
    )
    caption = (
        f"{len(frame)} random linear systems whose D does not commute with the Hessian F: the "
        "smaller the commutator, the smaller the force, from "
        f"{wording.number(float(frame['force'].min()))} to "
        f"{wording.number(float(frame['force'].max()))} of ∇f. It vanishes with the commutator, "
        "not with the anisotropy of D."
    )
    chart = points.properties(width=parts.WIDE, height=300)
    return dressed(chart, "The force and the commutator", caption)
