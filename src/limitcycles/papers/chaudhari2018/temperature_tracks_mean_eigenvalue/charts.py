"""Charts of the noise of networks at matched temperatures (Remark 15)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.predictions import (
    agreement,
    predictions,
)
from limitcycles.papers.chaudhari2018.temperature_tracks_mean_eigenvalue.rule import (
    MATCHED,
    WORDS,
    ratios,
)
from limitcycles.statistics.intervals import POSITIVE, estimate

NAMES = ("variance-by-setting", "predicted-variance", "ratio-by-seed")
VARIANCE = "variance over the second half of the steps (weight²)"
THEORIES = {"D": "Hessian D, noise D/b", "step": "diffusion, measured noise"}
RATIOS = {"variance": "variance (the rule)", "variance_by_time": "by unit of time (second rule)"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from the measurements of all seeds.

    A setting that diverged in any seed has an infinite variance, and no place in them; the captions
    name it. Raises ChartDataError: a setting of the result is not in a dataset.
    """
    tables, left_out = _tables(result, [one["noise"] for one in evidence.by_seed])
    note = f" Not shown, for the steps diverge: {', '.join(left_out)}." if left_out else ""
    frame = _frame(result, tables)
    return {
        "variance-by-setting": _by_setting(result, frame, tables[0].attrs["steps"], note),
        "predicted-variance": _predicted(frame, tables, note),
        "ratio-by-seed": _ratios(result, tables, note),
    }


def _tables(
    result: dict[str, Any], measured: list[xr.Dataset]
) -> tuple[list[xr.Dataset], list[str]]:
    """The datasets with the settings that are finite in all of them, and the names of others."""
    keep, left_out = [], []
    for arm in result["arms"]:
        for one in measured:
            if arm["run"] not in one["setting"].values:
                raise data.ChartDataError(
                    f"the measurement of seed {one.attrs['seed']} has no run '{arm['run']}' (arm "
                    f"'{arm['name']}' of {result['id']}); make it anew."
                )
        variances = [one["variance"].sel(setting=arm["run"]) for one in measured]
        finite = bool(np.isfinite(variances).all())
        (keep if finite else left_out).append(arm["run"] if finite else arm["name"])
    return [one.sel(setting=keep) for one in measured], left_out


def _frame(result: dict[str, Any], tables: list[xr.Dataset]) -> pd.DataFrame:
    """One row per setting, group and seed."""
    names = {arm["run"]: arm["name"] for arm in result["arms"]}
    rows = []
    for one in tables:
        predicted = predictions(one)
        for run in one["setting"].values:
            for group, words in WORDS.items():
                here = {"setting": run, "group": group}
                rows.append(
                    {
                        "network": names[run],
                        "group": words,
                        "seed": one.attrs["seed"],
                        "mean": float(one["mean_eigenvalue"].sel(here)),
                        "rate": float(one["learning_rate"].sel(here)),
                        "variance": float(one["variance"].sel(here)),
                    }
                    | {kind: float(values.sel(here)) for kind, values in predicted.items()}
                )
    return pd.DataFrame(rows)


def _geometric(values: pd.Series) -> float:
    return estimate(values, POSITIVE).value


def _colour() -> dict[str, Any]:
    """Scale and legend of the group, the same for colours and for shapes."""
    return {"scale": alt.Scale(domain=list(WORDS.values())), "legend": parts.legend(None)}


def _by_setting(
    result: dict[str, Any], frame: pd.DataFrame, steps: int, note: str
) -> alt.TopLevelMixin:
    means = frame.groupby("network")["mean"].agg(_geometric).sort_values()
    labels = {name: f"{name}, λ̄ = {wording.number(mean, 2)}" for name, mean in means.items()}
    frame = frame.assign(label=frame["network"].map(labels))
    keys = ["label", "network", "group"]
    middle = frame.groupby(keys, as_index=False)[["variance", "rate"]].agg(_geometric)
    low, high = parts.log_range(frame["variance"])
    axis = parts.log_axis(VARIANCE, low, high)
    place = {
        "x": alt.X(
            "label:N",
            sort=list(labels.values()),
            axis=alt.Axis(
                title="network, by rising mean λ(D) (gradient squared)",
                labelAngle=-25,
                labelOverlap=False,
            ),
        ),
        "y": alt.Y("variance:Q", scale=parts.log_scale(low, high), axis=axis),
        "color": alt.Color("group:N", **_colour()),
    }
    tooltip = [
        alt.Tooltip("network:N"),
        alt.Tooltip("group:N"),
        alt.Tooltip("variance:Q", title="variance (weight²)", format=".3e"),
        alt.Tooltip("rate:Q", title="learning rate", format=".2e"),
    ]
    base = alt.Chart(data.table(middle)).encode(**place, tooltip=tooltip)
    shape = alt.Shape("group:N", **_colour())
    seeds = alt.Chart(data.table(frame[[*keys, "seed", "variance", "rate"]])).encode(
        **place, shape=shape, tooltip=[*tooltip, alt.Tooltip("seed:N")]
    )
    claimed = _geometric(frame.loc[frame["group"] == WORDS[MATCHED], "variance"])
    chart = alt.layer(
        base.mark_line(strokeWidth=1.7),
        base.mark_point(filled=True, size=110, opacity=1).encode(shape=shape),
        seeds.mark_point(size=34, opacity=0.6),
        parts.horizontal_line(claimed, "as the remark says: all alike"),
    ).properties(width=parts.WIDE, height=320)
    factors = []
    for words in WORDS.values():
        its = middle.loc[middle["group"] == words, "variance"]
        factors.append(f"{wording.number(its.max() / its.min())} at {words}")
    caption = (
        "How far trained networks wander in plain SGD: the variance of each weight over the second "
        f"half of {wording.count(steps)} steps, its mean over the weights. Large marks are "
        "geometric means over seeds, small ones the seeds. If the remark holds, the networks lie "
        f"on one level (dashed) at {WORDS[MATCHED]}. The largest variance is that many times the "
        f"smallest: {' and '.join(factors)}. The {result['statistic']['name']}: "
        f"{wording.estimate(result['statistic'])}.{note}"
    )
    return dressed(chart, "Late noise of networks, by mean λ(D)", caption)


def _predicted(frame: pd.DataFrame, tables: list[xr.Dataset], note: str) -> alt.TopLevelMixin:
    chosen = parts.legend_choice("group")
    panels, facts = [], []
    for kind, title in THEORIES.items():
        shown = frame[np.isfinite(frame[kind])].rename(columns={kind: "predicted"})
        if shown.empty:
            raise data.ChartDataError("no variance is predicted: by theory all steps are unstable.")
        low, high = parts.log_range([*shown["variance"], *shown["predicted"]])
        panels.append(parts.panel(_scatter(shown, low, high, chosen), f"theory: {title}"))
        found = agreement(shown["variance"].to_numpy(), shown["predicted"].to_numpy())
        facts.append(
            f"{title}: {wording.number(found['low'])} to "
            f"{wording.number(found['high'])}, slope {wording.number(found['slope'])} and "
            f"correlation {wording.number(found['correlation'])} of the logarithms"
        )
    seeds = len(tables)
    caption = (
        "Measured against predicted variance; on the dashed line they are equal. A mark is a "
        f"network at one learning rate in one of {seeds} seeds. Nothing is fitted. Measured over "
        f"predicted, {'; '.join(facts)}.{note}"
    )
    return dressed(parts.panels(panels, chosen), "Late noise against theory", caption)


def _scatter(shown: pd.DataFrame, low: float, high: float, chosen: alt.Parameter):
    def axis(title: str) -> dict[str, Any]:
        return {"scale": parts.log_scale(low, high), "axis": parts.log_axis(title, low, high)}

    columns = ["network", "group", "seed", "rate", "predicted", "variance"]
    marks = (
        alt.Chart(data.table(shown[columns]))
        .mark_point(size=70, filled=True)
        .encode(
            x=alt.X("predicted:Q", **axis("predicted variance (weight²)")),
            y=alt.Y("variance:Q", **axis("measured variance (weight²)")),
            color=alt.Color("group:N", **_colour()),
            shape=alt.Shape("group:N", **_colour()),
            opacity=parts.fading(chosen, 0.8),
            tooltip=[
                alt.Tooltip("network:N"),
                alt.Tooltip("group:N"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("rate:Q", title="learning rate", format=".2e"),
                alt.Tooltip("predicted:Q", format=".3e"),
                alt.Tooltip("variance:Q", title="measured", format=".3e"),
            ],
        )
    )
    ends = pd.DataFrame({"predicted": [low, high], "variance": [low, high]})
    equal = alt.Chart(data.table(ends)).mark_line(style="paper")
    return alt.layer(equal.encode(x="predicted:Q", y="variance:Q"), marks)


def _ratios(result: dict[str, Any], tables: list[xr.Dataset], note: str) -> alt.TopLevelMixin:
    level, seeds = result["statistic"]["level"], [one.attrs["seed"] for one in tables]
    found = {words: ratios(tables, key) for key, words in RATIOS.items()}
    for kind, title in THEORIES.items():
        predicted = [one.assign(predicted=predictions(one)[kind]) for one in tables]
        if all(np.isfinite(one["predicted"]).all() for one in predicted):
            found[f"theory: {title}"] = ratios(predicted, "predicted")
    rows, single, facts = [], [], []
    for of, values in found.items():
        mean, interval, _ = estimate(values, POSITIVE, level)
        low, high = interval or (None, None)
        text = f"{wording.number(mean)} {wording.interval(interval)}".strip()
        rows.append({"of": of, "value": mean, "low": low, "high": high, "text": text})
        single += [{"of": of, "seed": s, "value": v} for s, v in zip(seeds, values, strict=True)]
        facts.append(f"{of} {text}")
    largest = 1.25 * max(1.0, *(one["value"] for one in single))
    scale = alt.Scale(domain=[0, largest], nice=False)
    place = {
        "y": alt.Y("of:N", title=None, sort=None, axis=alt.Axis(labelLimit=340)),
        "x": alt.X(
            "value:Q",
            title="spread over networks at equal (η/b)·mean λ(D), relative to equal η/b",
            scale=scale,
        ),
    }
    embedded = data.table(pd.DataFrame(rows))
    named = [alt.Tooltip("of:N", title="ratio")]
    whole = [*named, alt.Tooltip("text:N", title="estimate")]
    spans = (
        alt.Chart(embedded)
        .mark_rule(strokeWidth=4, opacity=0.45, clip=True)
        .encode(y=place["y"], x=alt.X("low:Q", scale=scale), x2="high:Q", tooltip=whole)
        .transform_filter("isValid(datum.low)")
    )
    circles = (
        alt.Chart(data.table(pd.DataFrame(single)))
        .mark_point(size=55, opacity=0.75)
        .encode(
            **place,
            tooltip=[*named, "seed:N", alt.Tooltip("value:Q", title="ratio", format=".3~g")],
        )
    )
    centres = (
        alt.Chart(embedded)
        .mark_point(shape="diamond", filled=True, size=120, opacity=1)
        .encode(**place, tooltip=whole)
    )
    line = parts.vertical_line(
        data.rule_parameter(result, "ratio"), "matching changes nothing", y=-8
    )
    chart = alt.layer(spans, circles, centres, line).properties(
        width=parts.WIDE - 200, height=46 * len(rows)
    )
    caption = (
        "Coefficient of variation of the late noise over networks, at equal (η/b)·mean λ(D) over "
        "that at equal η/b; below 1 (dashed) the remark's matching makes the noise more alike. "
        f"{'; '.join(facts)}. Diamonds are geometric means over seeds, circles the seeds, bars "
        f"{wording.percent(level)} intervals over {len(seeds)} seeds, cut where they "
        "leave the axis. A coefficient of variation of "
        f"{tables[0].sizes['setting']} networks is at most "
        f"{wording.number(tables[0].sizes['setting'] ** 0.5)}.{note}"
    )
    return dressed(chart, "Does matching the mean eigenvalue make the noise alike?", caption)
