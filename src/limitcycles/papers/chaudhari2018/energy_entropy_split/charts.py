"""Charts of the split of the free energy into mean potential and entropy (11)."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.energy_entropy_split.rule import spreads

NAMES = ("terms", "spread")
LEAST = 1e-16
TERMS = {"free_energy": "F", "closed_energy": "E[Φ]", "entropy": "−T H"}
OWN, CLOSED, LOSS = "Φ of the solver", "Φ in closed form", "the loss f for Φ (control)"


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "terms": _terms(evidence.parts["steps"]),
        "spread": _spread(result, evidence.parts["steps"]),
    }


def _terms(steps: xr.Dataset) -> alt.TopLevelMixin:
    finest = steps.sel(cells=steps["cells"].values.max())
    chosen = parts.legend_choice("term")
    charts = []
    for name in finest["system"].values:
        run = finest.sel(system=name).dropna("step", subset=["time"])
        rows = []
        for key, label in TERMS.items():
            sign = -1 if key == "entropy" else 1
            values = sign * (run[key].values - run[key].values[-1])
            rows.append(pd.DataFrame({"time": run["time"].values, "value": values, "term": label}))
        frame = pd.concat(rows)
        charts.append(parts.panel(_panel(frame[frame["time"] > 1e-3], chosen), str(name)))
    caption = (
        "F, E[Φ] with Φ in closed form, and −T H, each less its value at the end. At each time "
        "E[Φ] and −T H add up to F (dots). F falls always; one of its parts alone may rise."
    )
    return dressed(parts.panels(charts, chosen), "Energy and entropy over time", caption)


def _panel(frame: pd.DataFrame, chosen: alt.Parameter) -> alt.TopLevelMixin:
    low, high = frame["time"].min(), frame["time"].max()
    table = frame.pivot(index="time", columns="term", values="value").reset_index()
    total = table.assign(value=table["E[Φ]"] + table["−T H"])[["time", "value"]]
    x = parts.log_x("time", "time", low, high, plain=True)
    terms = list(TERMS.values())
    dashes = alt.Scale(domain=terms, range=[[1, 0], [7, 3], [2, 3]])
    lines = (
        alt.Chart(data.table(frame))
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("value:Q", title="less the end (units of the loss)"),
            color=alt.Color(
                "term:N", scale=alt.Scale(domain=terms), legend=parts.legend("term", True)
            ),
            strokeDash=alt.StrokeDash("term:N", scale=dashes, legend=parts.legend("term", True)),
            opacity=parts.fading(chosen, 0.9),
        )
    )
    points = alt.Chart(data.table(total)).mark_point(filled=True, size=20, style="threshold")
    return lines + points.encode(x=x, y="value:Q")


def _spread(result: dict[str, Any], steps: xr.Dataset) -> alt.TopLevelMixin:
    limit = data.rule_parameter(result, "spread")
    rows = []
    for name in (str(n) for n in steps["system"].values):
        for key, label in (("energy", OWN), ("closed_energy", CLOSED), ("loss_energy", LOSS)):
            if key == "loss_energy" and bool(steps["isotropic"].sel(system=name)):
                continue
            for cells, value in zip(steps["cells"].values, spreads(steps, name, key), strict=True):
                rows.append({"system": name, "cells": cells, "spread": value, "by": label})
    frame = pd.DataFrame(rows).dropna()
    frame["spread"] = frame["spread"].clip(lower=LEAST)  # an exact zero has no place on a log axis
    low, high = parts.log_range([*frame["spread"], LEAST])
    chosen = parts.legend_choice("system")
    looks = (([1, 3], "square"), ([1, 0], "circle"), ([5, 4], "triangle-up"))
    kinds = dict(zip((OWN, CLOSED, LOSS), looks, strict=True))
    sizes = [int(n) for n in sorted(steps["cells"].values)]
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X(
            "cells:Q",
            scale=parts.log_scale(sizes[0] / 1.1, sizes[-1] * 1.1),
            axis=alt.Axis(title="cells along a side", values=sizes),
        ),
        y=parts.log_y("spread", "spread / largest F", low, high),
        color=alt.Color("system:N", legend=parts.legend("system")),
        opacity=parts.fading(chosen, 0.85),
    )
    tips = parts.tooltip("system:N", "by:N", "cells:Q", spread=".2e")
    traces = parts.traces(base, kinds, chosen, 55, tips)
    line = parts.horizontal_line(limit, f"first rule: at most {wording.given(limit)}", "threshold")
    chart = parts.wide(360, *traces, line)
    own = frame.loc[frame["by"] == OWN, "spread"].max()
    last = frame[(frame["by"] == CLOSED) & (frame["cells"] == sizes[-1])]["spread"].max()
    wrong = frame.loc[frame["by"] == LOSS, "spread"].min()
    caption = (
        "Largest minus smallest F − E[Φ] + T H over time. With the solver's own Φ it is "
        f"{wording.number(own)} or less: (11) is then an identity. With Φ in closed form it is the "
        f"error of the grid, at most {wording.number(last)} on the finest, and falls with finer "
        f"cells. With the loss in place of Φ it stays at {wording.number(wrong)} and more."
    )
    return dressed(chart, "Spread of F − E[Φ] + T H", caption)
