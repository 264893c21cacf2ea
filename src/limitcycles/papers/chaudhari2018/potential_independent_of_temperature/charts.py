"""Charts of the claim that the potential does not depend on the temperature (Theorem 22)."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("difference", "profiles")
TITLES = {
    "rotational": "D = I, constant Q",
    "constant-tensor": "constant D, not isotropic",
    "varying-scalar": "D = c(x)I",
    "example-19": "Example 19, λ = 0.5",
}
FLOOR = 1e-4  # what is smaller is drawn here


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "difference": _differences(result, evidence.parts["potentials"]),
        "profiles": _profiles(evidence.parts["potentials"]),
    }


def _differences(result: dict[str, Any], potentials: xr.Dataset) -> alt.TopLevelMixin:
    arms = [arm["name"] for arm in result["arms"]]
    mine = potentials[["difference", "error"]].sel(system=arms)
    frame = mine.to_dataframe().reset_index()
    frame["drawn"] = frame["difference"].clip(lower=FLOOR)
    low, high = FLOOR / 1.5, 2 * frame["drawn"].max()
    x_low, x_high = parts.log_range(frame["colder"])
    chosen = parts.legend_choice("system")
    domain = alt.Scale(domain=arms)
    base = alt.Chart(data.table(frame.drop(columns="pair"))).encode(
        x=parts.log_x("colder", "T, compared with 10 T", x_low, x_high, plain=True),
        y=parts.log_y("drawn", "difference of Φ, relative to its spread", low, high),
        color=alt.Color("system:N", scale=domain, legend=parts.legend(None)),
        opacity=parts.fading(chosen),
    )
    points = base.mark_point(size=90, strokeWidth=2).encode(
        shape=alt.Shape("system:N", scale=domain, legend=parts.legend(None)),
        tooltip=[
            "system:N",
            alt.Tooltip("difference:Q", format=".3~g"),
            alt.Tooltip("error:Q", format=".2~g", title="error of the grid"),
        ],
    )
    same, other = (data.rule_parameter(result, key) for key in ("same", "different"))
    lines = [
        parts.horizontal_line(same, f"rule: at most {same:g}", "threshold"),
        parts.horizontal_line(other, f"different: at least {other:g}", "threshold"),
    ]
    good = [arm["name"] for arm in result["arms"] if arm["agrees"]]
    worst = max(result["arms"], key=lambda arm: arm["statistics"][0]["value"])
    caption = (
        "Root mean square of Φ(T) − Φ(10T), each up to a constant (10⁻⁴: that or less), where the "
        "density at T is resolved. Φ keeps "
        f"its shape in {', '.join(good) or 'no system'}; in {worst['name']} it changes by up to "
        f"{wording.number(worst['statistics'][0]['value'])} of its own spread."
    )
    chart = alt.layer(base.mark_line(), points.add_params(chosen), *lines)
    return dressed(
        chart.properties(width=parts.WIDE, height=340),
        "Change of the potential over a decade of temperature",
        caption,
    )


def _profiles(potentials: xr.Dataset) -> alt.TopLevelMixin:
    temperatures = [float(t) for t in potentials["temperature"].values]
    labels = [wording.given(float(f"{t:.2g}")) for t in temperatures]
    panels = []
    chosen = parts.legend_choice("T")
    for name, title in TITLES.items():
        rows = []
        for label, profile in zip(labels, potentials["profile"].sel(system=name), strict=True):
            kept = profile.dropna("x")
            rows += [
                {"x": float(x), "phi": float(v), "T": label}
                for x, v in zip(kept["x"].values, kept.values - kept.values.min(), strict=True)
                if v - kept.values.min() < 1.6
            ]
        line = (
            alt.Chart(data.table(pd.DataFrame(rows).astype({"T": str})))
            .mark_line()
            .encode(
                x=alt.X("x:Q", title="x₁ (at x₂ = 0)", scale=alt.Scale(domain=[-2, 2])),
                y=alt.Y("phi:Q", title="Φ − least Φ", scale=alt.Scale(domain=[0, 1.6])),
                color=alt.Color(
                    "T:N", sort=labels, scale=_scale(labels), legend=parts.legend("T", lines=True)
                ),
                strokeDash=alt.StrokeDash("T:N", sort=labels, scale=_dashes(labels)),
                opacity=parts.fading(chosen),
            )
        )
        panels.append(parts.panel(line, title))
    caption = (
        "Φ = −T log ρ^ss along x₂ = 0 at "
        f"{len(labels)} temperatures, where the density is resolved. If Φ did not depend on T all "
        "lines of a panel would lie on each other, as they do in the first. In the others wells "
        "move, fill up or appear as T grows."
    )
    return dressed(parts.panels(panels, chosen), "The potential at several temperatures", caption)


def _scale(labels: list[str]) -> alt.Scale:
    return alt.Scale(domain=labels, range=["#F2BE4A", "#E58A1F", "#C5407E", "#7A2E9C", "#33108C"])


def _dashes(labels: list[str]) -> alt.Scale:
    return alt.Scale(domain=labels, range=[[1, 0], [8, 3], [4, 2], [2, 2], [8, 2, 2, 2]])
