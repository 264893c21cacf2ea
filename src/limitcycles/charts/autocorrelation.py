"""Charts of autocorrelations over long lags: as in Fig. 3b, and against nulls."""

from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from limitcycles import wording
from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.claims.autocorrelation import (
    BEYOND,
    BOTH,
    BOTH_SUMS,
    DECIDING,
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


def draw(
    result: dict[str, Any], analyses: Analyses, study: dict[str, xr.Dataset] | None
) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from the analyses of its trajectories."""
    deciding = [arm for arm in result["arms"] if arm["name"] in DECIDING]
    return {
        "autocorrelation-paper": _paper(result, deciding, analyses),
        "autocorrelation-nulls": _shares(result),
        "example-weights": _examples(deciding, analyses),
    }


def _lag_axis(ticks: int = 5) -> alt.X:
    return alt.X(
        "lag:Q", axis=alt.Axis(title="lag (epochs)", tickCount=ticks), scale=alt.Scale(nice=False)
    )


def _strokes(names: list[str], dashes: list[list[int]]) -> dict[str, Any]:
    """Colour and dash of named lines, in one legend below."""
    legend = parts.legend(None, lines=True, below=True)
    return {
        "color": alt.Color(
            "line:N", scale=alt.Scale(domain=names, range=CATEGORY[: len(names)]), legend=legend
        ),
        "strokeDash": alt.StrokeDash(
            "line:N", scale=alt.Scale(domain=names, range=dashes), legend=legend
        ),
    }


def _paper(result: dict[str, Any], arms: list[dict], analyses: Analyses) -> alt.TopLevelMixin:
    level = data.paper_value(result, "level of the bands")
    panels, facts = [], []
    for arm in arms:
        lags = analyses[arm["run"]][0]["lags"]
        panels.append(parts.panel(_fan(lags), f"arm: {arm['name']}, seed {lags.attrs['seed']}"))
        share = data.statistic(result, arm, "lags outside the white-noise bands, mean")["value"]
        still = lags.attrs["still"]
        facts.append(
            f"{arm['name']}: {wording.number(share)} % of the lags lie outside the white-noise "
            f"bands, mean over weights; {still} weights never move and are left out"
        )
    caption = (
        "Autocorrelation of the weights over epochs after the last step of the learning rate, at "
        "the paper's 100 lags; biased estimator, which sums to −½ over all lags. Shaded: the "
        "middle 50 % and 90 % of the weights. "
        f"{'; '.join(facts)}. Random walks leave the white-noise bands just so: what tells them "
        f"apart is the {wording.given(level)} % envelope of a random walk put through the same "
        "estimator (dashed), which holds at all lags at once."
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
    lines = pd.concat(
        pd.DataFrame({"lag": lag, "r": side, "line": name, "side": k})
        for name, sides in drawn.items()
        for k, side in enumerate(sides)
    )
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
    stroked = (
        alt.Chart(data.table(lines))
        .mark_line(strokeWidth=1.8)
        .encode(
            x="lag:Q",
            y="r:Q",
            detail="side:N",
            **_strokes(list(drawn), [[1, 0], [7, 4], [2, 3]]),
        )
    )
    return shaded + stroked


def _shares(result: dict[str, Any]) -> alt.TopLevelMixin:
    enough = data.rule_parameter(result, "weights_percent")
    most = 100 - data.rule_parameter(result, "within_percent")
    names = [a["name"] + (" (decides)" if a["name"] in DECIDING else "") for a in result["arms"]]
    rows = []
    for arm, name in zip(result["arms"], names, strict=True):
        for key, test in TESTS.items():
            found = data.statistic(result, arm, key)
            rows.append({"arm": name, "test": test, "share": found["value"], "seeds": found["n"]})
    frame, tests = pd.DataFrame(rows), list(TESTS.values())
    legend = alt.Legend(
        title="weights outside", orient="top", columns=2, symbolOpacity=1, labelLimit=0
    )
    shapes = ["square", "circle", "triangle-up", "triangle-down", "diamond", "cross"]
    points = (
        alt.Chart(data.table(frame))
        .mark_point(filled=True, size=85, opacity=0.95)
        .encode(
            x=alt.X(
                "share:Q",
                scale=alt.Scale(type="sqrt", domain=[0, 100], nice=False),
                axis=alt.Axis(
                    title="% of the weights of all seeds", values=[0, 1, 5, 10, 20, 35, 50, 75, 100]
                ),
            ),
            y=alt.Y("arm:N", sort=names, title=None, scale=alt.Scale(paddingInner=0.25)),
            yOffset=alt.YOffset("test:N", sort=tests),
            color=alt.Color("test:N", scale=alt.Scale(domain=tests, range=CATEGORY), legend=legend),
            shape=alt.Shape("test:N", scale=alt.Scale(domain=tests, range=shapes), legend=legend),
            tooltip=["arm:N", "test:N", alt.Tooltip("share:Q", format=".2f"), "seeds:Q"],
        )
    )
    agree = parts.vertical_line(enough, f"rule: {enough:g} % or more outside both", y=-7)
    within = parts.vertical_line(
        most, f"contradicted: {most:g} % or less outside the random walk's", "threshold", y=-7
    )
    chart = alt.layer(points, agree, within).properties(width=parts.WIDE - 110, height=alt.Step(13))
    facts = "; ".join(
        f"{a['name']}: "
        + ", ".join(
            f"{wording.number(data.statistic(result, a, key)['value'])} % {words}"
            for key, words in (
                (BEYOND, "white-noise bands"),
                (OUTSIDE[WALK], "random walk"),
                (OUTSIDE[OU], "Ornstein–Uhlenbeck"),
                (BOTH, "both of these"),
            )
        )
        for a in result["arms"]
        if a["name"] in DECIDING
    )
    caption = (
        f"Share of the weights whose autocorrelation leaves bands or envelopes. {facts}. Under its "
        "own null 1 % of the weights leave an envelope; the claim holds if "
        f"{enough:g} % leave both envelopes (square-root scale)."
    )
    return dressed(chart, "What bands for white noise say, and what fitted nulls say", caption)


def _examples(arms: list[dict], analyses: Analyses) -> alt.TopLevelMixin:
    rows, said = [], []
    for arm in arms:
        one = analyses[arm["run"]][0]
        lags, reach = one["lags"], one["weights"]["reach"]
        row = []
        for k in range(0, lags.sizes["example"], 2)[:EXAMPLES]:
            weight = int(lags["example_weight"][k])
            outside = [SHORT[n] for n in (WALK, OU, NOISE) if reach.sel(null=n, weight=weight) > 1]
            title = f"{arm['name']}, weight {weight}"
            row.append(_example(lags.isel(example=k, lag=slice(None, None, 2)), title))
            said.append(
                f"{title}: " + (f"outside {', '.join(outside)}" if outside else "inside all")
            )
        rows.append(alt.hconcat(*row))
    caption = (
        "Autocorrelation of weights at places chosen beforehand (evenly spaced among all), inside "
        "the 99 % envelopes of nulls that were fitted to each and hold at all lags at once. "
        f"{'; '.join(said)}."
    )
    chart = alt.vconcat(*rows).resolve_scale(color="shared", strokeDash="shared")
    return dressed(chart, "Example weights inside the envelopes of their nulls", caption)


def _example(lags: xr.Dataset, title: str) -> alt.LayerChart:
    lag = lags["lag"].values
    drawn = {"the weight": [lags["example_r"].values]} | {
        words: [lags[f"example_{end}"].sel(null=null).values for end in ("low", "high")]
        for null, words in SHORT.items()
    }
    lines = pd.concat(
        pd.DataFrame({"lag": lag, "r": side, "line": name, "side": k})
        for name, sides in drawn.items()
        for k, side in enumerate(sides)
    )
    return (
        alt.Chart(data.table(lines))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=_lag_axis(3),
            y=alt.Y(
                "r:Q", title="autocorrelation r", scale=alt.Scale(domain=[-1.1, 1.5], nice=False)
            ),
            detail="side:N",
            **_strokes(list(drawn), [[1, 0], [7, 4], [2, 3], [1, 5]]),
        )
        .properties(title=alt.Title(title, fontSize=13), width=SMALL * 2 // 3, height=150)
    )
