"""Charts of the linear decomposition near a critical point (Lemma 20)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("covariance-ratio", "residuals")


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "covariance-ratio": _ratios(result, evidence.parts["systems"]),
        "residuals": _residuals(result, evidence.parts["systems"]),
    }


def _frame(systems: xr.Dataset, names: dict[str, str]) -> pd.DataFrame:
    """One row for each dimension and system."""
    frame = systems[list(names)].rename(names).to_dataframe().reset_index().dropna()
    return frame.assign(dimension=frame["dimension"].map("d = {}".format))


def _ratios(result: dict[str, Any], systems: xr.Dataset) -> alt.TopLevelMixin:
    bound = data.rule_parameter(result, "half_width")
    ours = _frame(systems, {"ratio": "ratio", "low": "low", "high": "high", "commutator": "c"})
    hessian = _frame(
        systems,
        {"hessian_ratio": "ratio", "hessian_low": "low", "hessian_high": "high", "commutator": "c"},
    )
    frame = pd.concat([ours.assign(by="T U⁻¹"), hessian.assign(by="T × Hessian⁻¹ (control)")])
    low, high = parts.log_range([*frame["low"][frame["low"] > 0], *frame["high"]])
    chosen = parts.legend_choice("by")
    base = alt.Chart(data.table(frame[frame["low"] > 0])).encode(
        x=alt.X("c:Q", title="‖FD − DFᵀ‖ / 2‖FD‖ (0: no current)"),
        color=alt.Color("by:N", legend=parts.legend("predicted by")),
        opacity=parts.fading(chosen, 0.75),
    )
    axis = parts.log_axis("simulated / predicted covariance", low, high, plain=True)
    points = base.mark_point(filled=True, size=36).encode(
        y=alt.Y("ratio:Q", scale=parts.log_scale(low, high), axis=axis),
        shape=alt.Shape("dimension:N", legend=parts.legend("dimension")),
        tooltip=["dimension:N", "system:N", alt.Tooltip("ratio:Q", format=".4f"), "c:Q"],
    )
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    line = parts.horizontal_line(1.0, "the paper: 1")
    chart = parts.wide(320, points.add_params(chosen), bars, line)
    furthest = float(np.abs(systems["ratio"] - 1).max())
    caption = (
        "Simulated to predicted variance of random stable systems along each eigenvector of the "
        "predicted covariance, with intervals that hold for all of a dimension at once. With "
        f"Σ = T U⁻¹ no ratio is further than {wording.number(furthest)} from 1 (the rule allows "
        f"intervals of ± {wording.given(bound)}); with the Hessian in place of U they are."
    )
    return dressed(chart, "Covariance near a critical point", caption)


def _residuals(result: dict[str, Any], systems: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "residual")
    names = {"residual": "F = (D + Q)U", "antisymmetry": "Q + Qᵀ = 0", "planted_error": "planted"}
    tiny = np.finfo(float).eps / 16  # an exact zero would have no place on a log axis
    frame = _frame(systems, names).melt(["dimension", "system"], var_name="of", value_name="size")
    frame["size"] = frame["size"].clip(lower=tiny)
    low, high = tiny / 2, 10 * limit
    base = alt.Chart(data.table(frame)).encode(
        x=parts.log_x("size", "relative residual", low, high),
        y=alt.Y("of:N", title=None),
        yOffset="dimension:N",
        color=alt.Color("dimension:N", legend=parts.legend("dimension")),
    )
    points = base.mark_point(filled=True, size=30, opacity=0.5)
    line = parts.vertical_line(limit, f"rule: at most {limit:g}", "threshold", align="right")
    chart = parts.wide(180, points, line)
    worst = wording.number(float(systems["residual"].max()))
    caption = (
        "Residuals of the decomposition, one point a system; the largest of F = (D + Q)U is "
        f"{worst} of ‖F‖: rounding. “planted”: the error with which a known Q and U come back."
    )
    return dressed(chart, "Residuals of the decomposition", caption)
