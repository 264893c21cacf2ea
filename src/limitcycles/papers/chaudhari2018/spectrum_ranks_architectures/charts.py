"""Charts of the claim that the spectrum ranks architectures (Rem. 16)."""

import json
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from limitcycles.charts import data, labels, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("score-against-error", "within-datasets", "rank-correlations")

ERROR = "test error"
SCORE = "rank(D)/d + var λ(D)"
_HEIGHT = 330
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim: scores against test errors, all and by dataset, and the τ of each.

    The second is missing where no dataset is seen by enough networks.
    """
    moments = sorted({percent for found in evidence.spectra.values() for percent in found})
    points, means = _tables(result, evidence.runs, moments)
    known = list(dict.fromkeys(means["dataset"]))
    within = [where for where in known if any(c.get("of") == where for c in result["checks"])]
    drawn = {"score-against-error": _all(result, points, means, known, within)}
    if within:
        drawn["within-datasets"] = _within(result, points, means, known, within)
    return drawn | {"rank-correlations": _correlations(result)}


def _tables(
    result: dict[str, Any], runs: data.Stores, moments: list[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per network, snapshot (percent) and seed, and the same for means over seeds.

    The seeds are those that the runs of all networks have, as in the claim.
    """
    mine = {arm["name"]: data.of_arm(runs, result, arm) for arm in result["arms"]}
    seeds = sorted(set.intersection(*({r.attrs["seed"] for r in some} for some in mine.values())))
    points, means = [], []
    for arm in result["arms"]:
        where = json.loads(mine[arm["name"]][0].attrs["settings"])["dataset_name"]
        error = data.statistic(result, arm, ERROR)
        for percent in moments:
            score = data.statistic(result, arm, f"{SCORE} at {percent} %")
            key = {"network": arm["name"], "dataset": where, "percent": percent}
            means.append(key | {"score": score["value"], "error": error["value"]})
            values = zip(seeds, score["values"], error["values"], strict=True)
            points += [key | {"seed": s, "score": y, "error": x} for s, y, x in values]
    return pd.DataFrame(points), pd.DataFrame(means)


def _moment(percent: float) -> str:
    return "before training" if percent == 0 else f"after {percent:g} % of training"


def _said(result: dict[str, Any], where: str) -> str:
    """The τ of some networks at each snapshot, in words."""
    return ", ".join(
        f"{_moment(check['percent'])} {wording.estimate(check['statistic'])}"
        for check in result["checks"]
        if check.get("of") == where
    )


def _all(
    result: dict[str, Any],
    points: pd.DataFrame,
    means: pd.DataFrame,
    known: list[str],
    within: list[str],
) -> alt.TopLevelMixin:
    chosen = parts.legend_choice("dataset")
    panels = [
        _panel(
            points[points["percent"] == percent],
            means[means["percent"] == percent],
            f"score {_moment(percent)}",
            known,
            chosen,
            named=lambda row: row.dataset not in within,
        )
        for percent in sorted(means["percent"].unique())
    ]
    whole = [check["of"] for check in result["checks"] if "of" in check][:1]
    caption = (
        f"If the claim holds, the score {SCORE} orders the networks as their test error does. "
        f"{len(result['arms'])} networks; large marks are over seeds, the mean error and the "
        "geometric mean of the score, small ones the seeds. "
        f"Kendall's τ over all of them: {'; '.join(_said(result, where) for where in whole)}."
    )
    return dressed(parts.panels(panels, chosen), "Score against test error", caption)


def _within(
    result: dict[str, Any],
    points: pd.DataFrame,
    means: pd.DataFrame,
    known: list[str],
    within: list[str],
) -> alt.TopLevelMixin:
    panels, facts = [], []
    for where in within:
        for percent in sorted(means["percent"].unique()):
            few = [t[(t["percent"] == percent) & (t["dataset"] == where)] for t in (points, means)]
            panels.append(_panel(*few, f"{where}: score {_moment(percent)}", known, None))
        facts.append(f"{where} {_said(result, where)}")
    caption = (
        "The same among networks that see the same dataset, where no dataset is harder than "
        f"another. Kendall's τ: {'; '.join(facts)}."
    )
    chart = alt.concat(*panels, columns=2)
    return dressed(chart, "Score against test error within a dataset", caption)


def _panel(
    points: pd.DataFrame,
    means: pd.DataFrame,
    title: str,
    known: list[str],
    chosen: alt.Parameter | None,
    named=lambda row: True,
) -> alt.LayerChart:
    """One panel; `known` has all datasets, so that each keeps its colour and shape in all panels.

    `chosen` is the choice of the legend (None: no legend), `named` says which networks are named.
    """
    low, high = parts.log_range(points["score"])
    left, right = float(points["error"].min()), float(points["error"].max())
    room = 0.06 * (right - left) or 1.0
    across = alt.Scale(domain=[left - room, right + room], nice=False)
    x = alt.X("error:Q", title="test error after training (%)", scale=across)
    y = alt.Y(
        "score:Q",
        scale=parts.log_scale(low, high),
        axis=parts.log_axis(SCORE, low, high, True),
    )
    legend = None if chosen is None else parts.legend("dataset")

    def opacity(shown):
        return alt.value(shown) if chosen is None else parts.fading(chosen, shown)

    def marks(frame: pd.DataFrame, size: int, shown: float, seed: list[alt.Tooltip]) -> alt.Chart:
        return (
            alt.Chart(data.table(frame.drop(columns="percent")))
            .mark_point(filled=True, size=size)
            .encode(
                x=x,
                y=y,
                color=alt.Color("dataset:N", scale=alt.Scale(domain=known), legend=legend),
                shape=alt.Shape(
                    "dataset:N",
                    scale=alt.Scale(domain=known, range=_SHAPES[: len(known)]),
                    legend=legend,
                ),
                opacity=opacity(shown),
                tooltip=[
                    alt.Tooltip("network:N"),
                    alt.Tooltip("dataset:N"),
                    *seed,
                    alt.Tooltip("score:Q", title=SCORE, format=".4~g"),
                    alt.Tooltip("error:Q", title="test error (%)", format=".3~g"),
                ],
            )
        )

    layers = [marks(points, 30, 0.45, [alt.Tooltip("seed:N")]), marks(means, 120, 1.0, [])]
    told = [row.network for row in means.itertuples() if named(row)]
    if told:
        names = _names(told, means, (left - room, right + room), (low, high))
        lines, texts = alt.Chart(data.table(names)), alt.Chart(data.table(names))
        layers = [
            lines.mark_rule(style="threshold", strokeDash=[1, 0], strokeWidth=0.8).encode(
                x=alt.X("error:Q", scale=across), y="score:Q", x2="end_x:Q", y2="end_y:Q"
            ),
            *layers,
            texts.mark_text(style="threshold-label", clip=False).encode(
                x=alt.X("at_x:Q", scale=across), y="at_y:Q", text="network:N"
            ),
        ]
    return parts.panel(alt.layer(*layers), title).properties(height=_HEIGHT)


def _names(
    told: list[str], means: pd.DataFrame, across: tuple[float, float], up: tuple[float, float]
) -> pd.DataFrame:
    """Where the names of the networks `told` stand, in the units of the axes."""
    top, span = np.log(up[1]), np.log(up[1] / up[0])

    def pixels(frame):
        right = (frame["error"] - across[0]) / (across[1] - across[0])
        down = (top - np.log(frame["score"])) / span
        return np.column_stack([right * parts.PANEL_WIDTH, down * _HEIGHT])

    is_told = means["network"].isin(told)
    frame, others = means[is_told].copy(), means[~is_told]
    place = (pixels(frame), list(frame["network"]), pixels(others))
    centres, ends = labels.place(*place, parts.PANEL_WIDTH, _HEIGHT)

    def units(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            across[0] + at[:, 0] / parts.PANEL_WIDTH * (across[1] - across[0]),
            np.exp(top - at[:, 1] / _HEIGHT * span),
        )

    frame["at_x"], frame["at_y"] = units(centres)
    frame["end_x"], frame["end_y"] = units(ends)
    return frame[["network", "error", "score", "at_x", "at_y", "end_x", "end_y"]]


def _correlations(result: dict[str, Any]) -> alt.TopLevelMixin:
    bound = data.rule_parameter(result, "tau")
    rows, seeds, facts = [], [], []
    for check in result["checks"]:
        if "of" not in check:
            continue
        tau, drawn_again = check["statistic"], check["bootstrap"] or [None, None]
        key = {"of": check["of"], "score": _moment(check["percent"])}
        low, high = tau["interval"] or (np.nan, np.nan)
        text = wording.estimate(tau)
        again = wording.interval(check["bootstrap"])
        row = {"value": tau["value"], "low": low, "high": high, "text": text, "again": again}
        rows.append(key | row | {"from": drawn_again[0], "to": drawn_again[1]})
        seeds += [key | {"value": value} for value in tau["values"]]
        if again:
            facts.append(f"{check['of']} {key['score']} {again}")
    frame = pd.DataFrame(rows)
    order = list(dict.fromkeys(frame["score"]))
    legend = parts.legend(None)
    scale = alt.Scale(domain=[-1.04, 1.04], nice=False)
    place = {
        "y": alt.Y("of:N", title=None, sort=None),
        "yOffset": alt.YOffset("score:N", sort=None),
        "color": alt.Color("score:N", scale=alt.Scale(domain=order), legend=legend),
    }
    x = alt.X("value:Q", title="Kendall's τ", scale=scale)
    told = [
        alt.Tooltip("of:N", title="over"),
        alt.Tooltip("score:N"),
        alt.Tooltip("text:N", title="τ, over seeds"),
        alt.Tooltip("again:N", title="bootstrap over networks"),
    ]
    base = alt.Chart(data.table(frame)).encode(**place)
    bars = (
        base.mark_bar(height=9, opacity=0.3)
        .encode(x=alt.X("low:Q", scale=scale, title="Kendall's τ"), x2="high:Q", tooltip=told)
        .transform_filter("isValid(datum.low)")
    )
    spans = (
        base.mark_rule(strokeWidth=1.6)
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q", tooltip=told)
        .transform_filter("isValid(datum.from)")
    )
    ticks = [
        base.mark_tick(thickness=1.6, height=11)
        .encode(x=alt.X(f"{end}:Q", scale=scale))
        .transform_filter("isValid(datum.from)")
        for end in ("from", "to")
    ]
    circles = (
        alt.Chart(data.table(pd.DataFrame(seeds)))
        .mark_point(size=34, opacity=0.7)
        .encode(**place, x=x)
    )
    centres = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=x,
        shape=alt.Shape(
            "score:N", scale=alt.Scale(domain=order, range=["diamond", "square"]), legend=legend
        ),
        tooltip=told,
    )
    lines = [
        parts.vertical_line(0, "", "threshold", y=-8),
        parts.vertical_line(-bound, f"rule: −{wording.given(bound)}", "threshold", y=-8),
        parts.vertical_line(bound, f"rule: {wording.given(bound)}", "threshold", y=-8),
    ]
    level = wording.percent(result["statistic"]["level"])
    caption = (
        f"Kendall's τ between the score and the test error. Pale bars are {level} intervals over "
        "seeds on the scale of Fisher's z, circles the seeds. Lines with end marks are intervals "
        f"of a bootstrap over the networks: {'; '.join(facts)}. τ passes where the linear interval "
        "over seeds, that of the rule, excludes 0 "
        f"and its mean lies beyond ±{wording.given(bound)} (dotted)."
    )
    height = 46 * frame["of"].nunique()
    chart = alt.layer(bars, spans, *ticks, circles, centres, *lines)
    chart = chart.properties(width=parts.WIDE, height=height)
    return dressed(chart, "Rank correlation of the score with the test error", caption)
