"""Charts of the claim that the force is conservative (Assumption 4)."""

from typing import Any

import altair as alt
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("three-numbers", "energy-and-free-energy")
FLOOR = 1e-5  # what is smaller is drawn here
LABELS = {
    "divergence": "∇·j relative to ∂j",
    "cosine": "mean |cos(j, ∇Φ)|",
    "share": "share of dF/dt",
}
MEETS = {1: "meets Assumption 4", 0: "does not", -1: "does not"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    moving = evidence.parts["systems"].sel(system=evidence.parts["systems"]["force"] > 0)
    return {
        "three-numbers": _numbers(result, moving),
        "energy-and-free-energy": _energy(result, moving),
    }


def _long(systems: xr.Dataset, names: dict[str, str]):
    frame = systems[[*names, "family", "assumption_4"]].to_dataframe().reset_index()
    frame["meets"] = frame["assumption_4"].map(MEETS)
    long = frame.melt(
        ["system", "family", "assumption_4", "meets"], var_name="of", value_name="value"
    )
    long["of"] = long["of"].map(names)
    long["drawn"] = long["value"].clip(lower=FLOOR)
    text = long["system"].str.replace("_", " ").str.replace("gradient ", "")
    long["label"] = long["family"] + ": " + text
    return long.drop(columns="assumption_4")


def _dots(result: dict[str, Any], long, high: float, title: str) -> alt.LayerChart:
    domain = alt.Scale(domain=list(dict.fromkeys(long["of"])))
    points = (
        alt.Chart(data.table(long))
        .mark_point(size=85, strokeWidth=2)
        .encode(
            x=parts.log_x("drawn", title, FLOOR / 2, high),
            y=alt.Y(
                "label:N",
                title=None,
                sort=list(dict.fromkeys(long["label"])),
                axis=alt.Axis(labelLimit=340, grid=True),
            ),
            color=alt.Color("of:N", scale=domain, legend=parts.legend(None)),
            shape=alt.Shape("of:N", scale=domain, legend=parts.legend(None)),
            tooltip=parts.tooltip("system:N", "of:N", "meets:N", value=".3~g"),
        )
    )
    limit = data.rule_parameter(result, "zero")
    line = parts.vertical_line(limit, f"rule: at most {limit:g}", "threshold", y=-8)
    return alt.layer(points, line).properties(width=440, height=22 * long["label"].nunique())


def _numbers(result: dict[str, Any], moving: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "zero")
    good = moving.sel(system=moving["assumption_4"] == 1)
    rest = moving.sel(system=moving["assumption_4"] != 1)
    ends = [wording.number(float(of(rest["cosine"]))) for of in (min, max)]
    caption = (
        f"Systems with a force (10⁻⁵: that or less). The {good.sizes['system']} that meet "
        f"Assumption 4 have all three numbers below {limit:g}. In the {rest.sizes['system']} "
        "others, the paper's Example 19 first, j has a divergence and is not orthogonal to ∇Φ "
        f"(mean |cos| {ends[0]} to {ends[1]}); only its share of dF/dt vanishes everywhere."
    )
    long = _long(moving, LABELS)
    return dressed(
        _dots(result, long, 2.0, "size (a pure number)"),
        "Three numbers that would vanish if the force were conservative",
        caption,
    )


def _energy(result: dict[str, Any], moving: xr.Dataset) -> alt.TopLevelMixin:
    resolved = moving["energy_share_error"] <= 0.1 * moving["energy_share"]
    shown = moving.sel(system=resolved | (moving["stationary"] == 1))
    names = {"share": "free energy F", "energy_share": "energy E[Φ] alone"}
    own = shown.sel(system=shown["family"] == "paper")
    ends = [wording.number(float(of(own["energy_share"]))) for of in (min, max)]
    caption = (
        "What j does, as a share of dF/dt, where Φ is known or the grid resolves it (10⁻⁵: that or "
        "less). It never changes F = E[Φ] − TH. Where Assumption 4 fails it does change the energy "
        f"E[Φ], in Example 19 by {ends[0]} and {ends[1]} of dF/dt; the entropy makes up for it."
    )
    high = 3 * max(1.0, float(shown["energy_share"].max()))
    return dressed(
        _dots(result, _long(shown, names), high, "rate of change through j, relative to dF/dt"),
        "Effect of the force on the free energy and on the energy",
        caption,
    )
