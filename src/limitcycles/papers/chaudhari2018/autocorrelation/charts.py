"""Charts of autocorrelations over long lags: as in Fig. 3b, and against nulls."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.autocorrelation.rule import (
    BEYOND,
    BOTH,
    BOTH_SUMS,
    NOISE,
    OU,
    OUTSIDE,
    WALK,
)

NAMES = ("autocorrelation-paper", "autocorrelation-nulls", "example-weights")
Analyses = dict[str, list[dict[str, xr.Dataset]]]

MEDIAN, BANDS, ENVELOPE = (
    "median weight",
    "white-noise bands (the paper's)",
    "envelope of a random walk (all lags at once)",
)
TESTS = {
    BEYOND: "white-noise bands (the paper's)",
    OUTSIDE[WALK]: "random walk",
    OUTSIDE[OU]: "Ornstein–Uhlenbeck",
    OUTSIDE[NOISE]: "epoch-noise",
    BOTH: "random walk and Ornstein–Uhlenbeck (the rule)",
    BOTH_SUMS: "the same by the sum of |r|",
}
SHORT = {WALK: "random walk", OU: "Ornstein–Uhlenbeck", NOISE: "epoch-noise"}
SMALL, EXAMPLES = 290, 3


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from the measurements of its trajectories."""
    deciding = [arm for arm in result["arms"] if arm["name"] in result["deciding"]]
    return {
        "autocorrelation-paper": _paper(result, deciding, evidence.by_arm),
        "autocorrelation-nulls": _shares(result),
        "example-weights": _examples(deciding, evidence.by_arm),
    }


def _lag_axis(ticks: int = 5) -> alt.X:
    return alt.X(
        "lag:Q", axis=alt.Axis(title="lag (epochs)", tickCount=ticks), scale=alt.Scale(nice=False)
    )


def _lines(
    lag: np.ndarray, drawn: dict[str, list[np.ndarray]], width: float, dashes: list[list[int]]
) -> alt.Chart:
    """Named lines of one or two sides against the lag; colour and dash in one legend below."""
    sides = [(name, k, side) for name, both in drawn.items() for k, side in enumerate(both)]
    frame = pd.concat(
        pd.DataFrame({"lag": lag, "r": side, "line": name, "side": k}) for name, k, side in sides
    )
    names, legend = list(drawn), parts.legend(None, lines=True, below=True)
    colours, strokes = (
        alt.Scale(domain=names, range=its) for its in (CATEGORY[: len(names)], dashes)
    )
    return (
        alt.Chart(data.table(frame))
        .mark_line(strokeWidth=width)
        .encode(
            detail="side:N",
            color=alt.Color("line:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("line:N", scale=strokes, legend=legend),
        )
    )


def _paper(result: dict[str, Any], arms: list[dict], by_arm: Analyses) -> alt.TopLevelMixin:
    level = data.paper_value(result, "level of the bands")
    enough = data.rule_parameter(result, "weights_percent")
    panels, facts = [], []
    for arm in arms:
        lags = by_arm[arm["name"]][0]["lags"]
        share, both = (
            wording.number(data.statistic(result, arm, key)["value"])
            for key in ("lags outside the white-noise bands, mean", BOTH)
        )
        title = alt.Title(
            f"{arm['name']}, seed {lags.attrs['seed']}",
            subtitle=[
                f"paper: {share} % of the lags outside the white-noise bands",
                f"calibrated: {both} % of the weights outside both fitted nulls",
            ],
            fontSize=13,
        )
        panels.append(parts.panel(_fan(lags), "").properties(title=title))
        facts.append(f"{arm['name']} {share} % of the lags")
    caption = (
        f"Autocorrelation of the weights at the paper's {lags.sizes['lag']} lags, after the last "
        "step of the learning rate. Shaded: the middle 50 % and 90 % of the weights. Outside the "
        f"paper's white-noise bands lie: {', '.join(facts)}. Random walks leave these bands just "
        f"so. What tells weights from them is the {wording.given(level)} % envelope (dashed) of a "
        f"random walk by the same estimator; the rule asks for {enough:g} % of the weights outside."
    )
    chart = alt.hconcat(*panels).resolve_scale(color="shared", strokeDash="shared")
    return dressed(chart, "Autocorrelation of the weights (Fig. 3b)", caption)


def _fan(lags: xr.Dataset) -> alt.LayerChart:
    lag, quantiles = lags["lag"].values, lags["r_quantile"]
    areas = pd.concat(
        pd.DataFrame(
            {"lag": lag, "low": quantiles.sel(quantile=a), "high": quantiles.sel(quantile=b)}
        ).assign(share=share)
        for a, b, share in ((0.05, 0.95, "90 %"), (0.25, 0.75, "50 %"))
    )
    band = lags.attrs["band"]
    drawn = {
        MEDIAN: [quantiles.sel(quantile=0.5).values],
        ENVELOPE: [lags["walk_low"].values, lags["walk_high"].values],
        BANDS: [0 * lag - band, 0 * lag + band],
    }
    shaded = (
        alt.Chart(data.table(areas))
        .mark_area(opacity=0.22, color=CATEGORY[0])
        .encode(
            x=_lag_axis(),
            y=alt.Y("low:Q", title="autocorrelation r"),
            y2="high:Q",
            detail="share:N",
        )
    )
    stroked = _lines(lag, drawn, 1.8, [[1, 0], [7, 4], [2, 3]])
    return shaded + stroked.encode(x="lag:Q", y="r:Q")


def _shares(result: dict[str, Any]) -> alt.TopLevelMixin:
    enough = data.rule_parameter(result, "weights_percent")
    most = 100 - data.rule_parameter(result, "within_percent")
    chance = 100 - 100 * data.rule_parameter(result, "level")
    deciding = [a for a in result["arms"] if a["name"] in result["deciding"]]
    others = [a for a in result["arms"] if a["name"] not in result["deciding"]]
    agree = parts.vertical_line(enough, f"rule: {enough:g} % or more outside both", y=-7)
    within = parts.vertical_line(
        most, f"contradicted: {most:g} % or less outside the random walk's", "threshold", y=-7
    )
    points = _points(result, deciding, list(TESTS), 13)
    title = alt.Title("The arms that decide", fontSize=13, offset=16)
    panels = [alt.layer(points, agree, within).properties(title=title)]
    if others:
        few = _points(result, others, [BEYOND, OUTSIDE[WALK], BOTH], 8)
        rules = [
            parts.vertical_line(at, "", style)
            for at, style in ((enough, "paper"), (most, "threshold"))
        ]
        title = alt.Title("Other arms, by three of these tests", fontSize=13)
        panels.append(alt.layer(few, *rules).properties(title=title))
    chart = alt.vconcat(*panels).resolve_scale(
        color="shared", shape="shared", y="independent", yOffset="independent"
    )
    facts = "; ".join(
        f"{arm['name']} {wording.number(data.statistic(result, arm, BEYOND)['value'])} % and "
        f"{wording.number(data.statistic(result, arm, BOTH)['value'])} %"
        for arm in deciding
    )
    caption = (
        "Share of the weights whose autocorrelation leaves the paper's white-noise bands (squares) "
        "or the envelopes of nulls that were fitted to each weight. Outside the bands, and outside "
        f"both envelopes of the rule: {facts}. Under its own null {chance:g} % of the weights "
        f"leave an envelope; the claim holds if {enough:g} % leave both. Square-root scale; the "
        "other "
        "arms are in the lower panel and the table."
    )
    return dressed(chart, "What bands for white noise say, and what fitted nulls say", caption)


def _points(result: dict[str, Any], arms: list[dict], keys: list[str], step: int) -> alt.Chart:
    """Shares of the weights outside by the tests `keys`, each `step` pixels below the last."""
    rows = []
    for arm in arms:
        for key in keys:
            found = data.statistic(result, arm, key)
            row = {"arm": arm["name"], "test": TESTS[key]}
            rows.append(row | {"share": found["value"], "seeds": found["n"]})
    tests = list(TESTS.values())
    legend = alt.Legend(
        title="weights outside", orient="top", columns=2, symbolOpacity=1, labelLimit=0
    )
    shapes = ["square", "circle", "triangle-up", "triangle-down", "diamond", "cross"]
    axis = alt.Axis(
        title="% of the weights of all seeds", values=[0, 1, 5, 10, 20, 35, 50, 75, 100]
    )
    return (
        alt.Chart(data.table(pd.DataFrame(rows)))
        .mark_point(filled=True, size=85 if step > 10 else 55, opacity=0.95)
        .encode(
            x=alt.X(
                "share:Q", scale=alt.Scale(type="sqrt", domain=[0, 100], nice=False), axis=axis
            ),
            y=alt.Y(
                "arm:N",
                sort=[arm["name"] for arm in arms],
                title=None,
                scale=alt.Scale(paddingInner=0.25),
            ),
            yOffset=alt.YOffset("test:N", sort=[TESTS[key] for key in keys]),
            color=alt.Color("test:N", scale=alt.Scale(domain=tests, range=CATEGORY), legend=legend),
            shape=alt.Shape("test:N", scale=alt.Scale(domain=tests, range=shapes), legend=legend),
            tooltip=["arm:N", "test:N", alt.Tooltip("share:Q", format=".2f"), "seeds:Q"],
        )
        .properties(width=parts.WIDE - 110, height=alt.Step(step))
    )


def _examples(arms: list[dict], by_arm: Analyses) -> alt.TopLevelMixin:
    rows, left = [], 0
    for arm in arms:
        one = by_arm[arm["name"]][0]
        lags, reach = one["lags"], one["weights"]["reach"]
        row = []
        for k in range(0, lags.sizes["example"], 2)[:EXAMPLES]:
            weight = int(lags["example_weight"][k])
            outside = bool((reach.sel(null=[WALK, OU], weight=weight) > 1).all())
            left += outside
            title = alt.Title(
                f"{arm['name']}, weight {weight}",
                subtitle="outside both nulls" if outside else "inside at least one null",
                fontSize=13,
            )
            row.append(_example(lags.isel(example=k, lag=slice(None, None, 2)), title))
        rows.append(alt.hconcat(*row))
    count = sum(len(row.hconcat) for row in rows)
    caption = (
        "Autocorrelation of weights at places chosen beforehand, evenly spaced among all, inside "
        f"the {wording.percent(lags.attrs['level'])} envelopes of nulls that were fitted to each "
        "and "
        f"hold at all lags at once. {left} of these {count} weights lie outside the envelopes of "
        "both the random walk and "
        "the Ornstein–Uhlenbeck process."
    )
    chart = alt.vconcat(*rows).resolve_scale(color="shared", strokeDash="shared")
    return dressed(chart, "Example weights and the envelopes of their nulls", caption)


def _example(lags: xr.Dataset, title: alt.Title) -> alt.LayerChart:
    lag = lags["lag"].values
    drawn = {"the weight": [lags["example_r"].values]} | {
        words: [lags[f"example_{end}"].sel(null=null).values for end in ("low", "high")]
        for null, words in SHORT.items()
    }
    scale = alt.Scale(domain=[-1.1, 1.5], nice=False)
    lines = _lines(lag, drawn, 1.6, [[1, 0], [7, 4], [2, 3], [1, 5]])
    lines = lines.encode(x=_lag_axis(3), y=alt.Y("r:Q", title="autocorrelation r", scale=scale))
    return lines.properties(title=title, width=SMALL * 2 // 3, height=150)
