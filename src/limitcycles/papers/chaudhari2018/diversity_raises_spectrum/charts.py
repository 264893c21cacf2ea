"""Charts of the claim that diverse data raise the spectrum (Remark 14)."""

from typing import Any

import altair as alt
import pandas as pd

from limitcycles.charts import data, estimates, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("moments", "log-ratios")

MOMENTS = ("mean eigenvalue", "std of eigenvalues")
_RATIO = "log ratio of the "


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim."""
    return {"moments": _moments(result, evidence.spectra), "log-ratios": _log_ratios(result)}


def _moments(result: dict[str, Any], spectra: data.Stores) -> alt.TopLevelMixin:
    charts, papers = [], []
    found: dict[str, list[str]] = {arm["name"]: [] for arm in result["arms"]}
    for moment in MOMENTS:
        gathered, marks = estimates.Estimates(result, spectra), []
        for arm in result["arms"]:
            entry = gathered.add(arm, moment, moment)
            found[arm["name"]].append(wording.number(entry["value"]))
            if entry["paper"] is not None:
                marks.append({"arm": arm["name"], "value": entry["paper"]})
                papers.append(f"{wording.given(entry['paper'])} ({arm['name']})")
        low, high = parts.log_range([*gathered.values(), *(m["value"] for m in marks)])
        scale = parts.log_scale(low, high)
        title = f"{moment} (gradient squared)"
        axis = parts.log_axis(title, low, high)
        chart = gathered.chart(title, row="arm", colour="arm", scale=scale, axis=axis)
        if marks:
            chart = alt.layer(chart, _paper(marks, title, scale, axis))
        charts.append(
            chart.properties(width=parts.PANEL_WIDTH - 90, height=34 * len(result["arms"]))
        )
    said = "; ".join(f"{name} {' ± '.join(both)}" for name, both in found.items())
    caption = (
        "Mean ± standard deviation of all eigenvalues of D (gradient squared) after training, "
        f"geometric means over seeds: {said}. Bars are intervals over seeds, circles the seeds."
    )
    if papers:
        caption += f" Crosses: the paper's means, {'; '.join(papers)}."
    chart = alt.concat(*charts, columns=2)
    return dressed(chart, "Mean and standard deviation of the eigenvalues, by data", caption)


def _paper(
    marks: list[dict[str, Any]], title: str, scale: alt.Scale, axis: alt.Axis
) -> alt.LayerChart:
    """The paper's number of each arm as a cross in its row, with its value."""
    base = alt.Chart(data.table(pd.DataFrame(marks))).encode(
        x=alt.X("value:Q", title=title, scale=scale, axis=axis),
        y=alt.Y("arm:N", title=None, sort=None),
        tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("value:Q", title="the paper's", format=".3~g")],
    )
    cross = base.mark_point(shape="cross", filled=True, size=110, style="paper")
    words = base.mark_text(style="paper-label", dy=-12, fontSize=11).encode(text="words:N")
    return alt.layer(cross, words.transform_calculate(words="'paper'"))


def _log_ratios(result: dict[str, Any]) -> alt.TopLevelMixin:
    rows, seeds = [], []
    for arm in result["arms"]:
        for entry in arm["statistics"]:
            if not entry["name"].startswith(_RATIO):
                continue
            moment, pair = entry["name"].removeprefix(_RATIO).split(", ")
            low, high = entry["interval"] or (None, None)
            key = {"pair": pair, "of": moment, "rule": _rule(result, pair)}
            text = wording.estimate(entry)
            rows.append(
                key
                | {"value": entry["value"], "low": low, "high": high}
                | {"text": text, "paper": entry["paper"]}
            )
            seeds += [key | {"value": value} for value in entry["values"]]
    # A column without any number would become one of objects, which is written as text.
    numbers = {"low": float, "high": float, "paper": float}
    frame, values = pd.DataFrame(rows).astype(numbers), pd.DataFrame(seeds)
    bound = data.rule_parameter(result, "log_ratio")
    panels, said = [], []
    for rule in dict.fromkeys(frame["rule"]):
        mine = frame[frame["rule"] == rule].drop(columns="rule")
        others = values[values["rule"] == rule].drop(columns="rule")
        chart = alt.layer(
            _ratios(mine, others, bound),
            parts.vertical_line(bound, "as the paper claims →", "threshold", y=-8),
        )
        panels.append(
            chart.properties(
                title=alt.Title(rule, fontSize=13, offset=22),
                width=parts.WIDE - 170,
                height=44 * mine["pair"].nunique(),
            )
        )
        said.append(
            f"{rule}: "
            + "; ".join(
                f"{pair} {' and '.join(both['text'])}" for pair, both in mine.groupby("pair")
            )
        )
    chart = alt.vconcat(*panels).resolve_scale(color="shared")
    paper = "; ".join(
        f"{row.pair} {wording.number(row.paper)}"
        for row in frame[frame["paper"].notna()].itertuples()
    )
    caption = (
        "Natural logarithm of the ratio, second arm over first, of the mean and of the standard "
        f"deviation of the eigenvalues, paired by seed. {'. '.join(said)}. The claim holds for a "
        f"pair where both intervals lie above {wording.given(bound)} (dotted). Circles: the seeds. "
        f"Crosses: the ratios of the paper's means, {paper}."
    )
    return dressed(chart, "Do more diverse data raise the spectrum?", caption)


def _rule(result: dict[str, Any], pair: str) -> str:
    """The rule that a pair belongs to, as the checks of the result say."""
    titles = {
        "first rule": "First rule: the paper's datasets",
        "second rule": "Second rule: within one dataset and network",
    }
    for check in result["checks"]:
        rule, _, rest = check["name"].partition(": ")
        if rest == pair and rule in titles:
            return titles[rule]
    raise data.ChartDataError(
        f"the chart of {result['id']} finds no check of the pair '{pair}'; make the claim anew."
    )


def _ratios(frame: pd.DataFrame, seeds: pd.DataFrame, bound: float) -> alt.LayerChart:
    title = "log ratio of the moments (natural logarithm)"
    drawn = pd.concat([frame[["value", "low", "high", "paper"]].stack(), seeds["value"]])
    low, high = min(bound, drawn.min()), max(bound, drawn.max())
    scale = alt.Scale(domain=[low - 0.08 * (high - low), high + 0.06 * (high - low)], nice=False)
    place: dict[str, Any] = {
        "y": alt.Y("pair:N", title=None, sort=None, axis=alt.Axis(labelLimit=280)),
        "yOffset": alt.YOffset("of:N", sort=None),
        "color": alt.Color(
            "of:N", scale=alt.Scale(domain=list(MOMENTS)), legend=parts.legend(None)
        ),
    }
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(title=title, tickCount=8))
    tips = [alt.Tooltip("pair:N"), alt.Tooltip("of:N", title="ratio of the")]
    table = data.table(frame)
    spans = (
        alt.Chart(table)
        .mark_rule(strokeWidth=4, opacity=0.45, strokeCap="round")
        .encode(**place, x=alt.X("low:Q", title=title, scale=scale), x2="high:Q")
        .transform_filter("isValid(datum.low)")
    )
    circles = (
        alt.Chart(data.table(seeds))
        .mark_point(size=45, opacity=0.75)
        .encode(**place, x=x, tooltip=[*tips, alt.Tooltip("value:Q", format=".3~g")])
    )
    centres = (
        alt.Chart(table)
        .mark_point(shape="diamond", filled=True, size=110, opacity=1)
        .encode(**place, x=x, tooltip=[*tips, alt.Tooltip("text:N", title="estimate")])
    )
    crosses = (
        alt.Chart(table)
        .mark_point(shape="cross", filled=True, size=90, style="paper")
        .encode(
            y=place["y"],
            yOffset=place["yOffset"],
            x=alt.X("paper:Q", title=title, scale=scale),
            tooltip=[*tips, alt.Tooltip("paper:Q", title="the paper's", format=".3~g")],
        )
        .transform_filter("isValid(datum.paper)")
    )
    return alt.layer(spans, circles, crosses, centres)
