"""Charts of the norm of the gradient along long trajectories (Fig. 3c)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, estimates, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.gradient_norm.falls import NAME

NAMES = ("gradient-norm-paper", "gradient-norm-arms", "gradient-fall")
KINDS = {
    "evaluation": "evaluation mode",
    "training": "training mode",
    "shuffled": "training mode, images shuffled",
}
SMOOTHED = {"smoothed": "smoothed from epoch 0", "smoothed_after": "smoothed after the transient"}
TITLE = "‖∇f‖/√d (nats per unit of weight)"
POINTS = 120  # of a line in the paper's chart
LARGE = 80  # of a line of an arm that decides, where all arms are drawn
ROWS = 2300  # of the other arms together, about
Parts = dict[str, xr.Dataset]


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from the measurements of its trajectories."""
    return {
        "gradient-norm-paper": _paper(result, evidence.by_arm),
        "gradient-norm-arms": _arms(result, evidence.by_arm),
        "gradient-fall": _falls(result, evidence.by_arm),
    }


def _ordered(result: dict[str, Any]) -> list[dict]:
    """The arms, first those that decide."""
    return sorted(result["arms"], key=lambda arm: arm["name"] not in result["deciding"])


def _y(low: float, high: float, field: str) -> alt.Y:
    return alt.Y(
        f"{field}:Q", scale=parts.log_scale(low, high), axis=parts.log_axis(TITLE, low, high)
    )


# ---------------------------------------------------------------- as in the paper


def _paper(result: dict[str, Any], by_arm: dict[str, list[Parts]]) -> alt.TopLevelMixin:
    factor = data.paper_value(result, NAME)
    chosen = parts.legend_choice("curve")
    panels, facts = [], []
    for arm in (a for a in result["arms"] if a["name"] in result["deciding"]):
        curves = [run["curve"] for run in by_arm[arm["name"]]]
        frame = pd.concat([_smoothed(c, key) for c in curves for key in SMOOTHED])
        early, fall = (
            wording.number(data.statistic(result, arm, key)["value"])
            for key in (_smoothed_name("from epoch 0"), f"{NAME}, {KINDS['training']}")
        )
        title = alt.Title(
            arm["name"],
            subtitle=[
                f"paper's curve, from epoch 0: falls by a factor of {early}",
                f"judged, same mode after the transient: by a factor of {fall}",
            ],
            fontSize=13,
        )
        panel = parts.panel(_paper_panel(frame, curves, factor, chosen), "")
        panels.append(panel.properties(title=title))
        facts.append(f"{arm['name']} {early} and {fall}")
    com = curves[0].attrs["com"]
    caption = (
        "The norm as the paper draws it: training mode, exponential average (com "
        f"{com} gradients), a line per seed. Fall of the average from epoch 0, and fall that is "
        f"judged: {'; '.join(facts)}; the paper's is {factor:g} (dashed). Below 1 the norm grows. "
        "An average that begins in the transient keeps its large gradients for long and falls with "
        "them. In the paper the first 175 points come from another run; nothing is spliced here."
    )
    title = "The gradient norm as the paper draws it: smoothed, training mode"
    return dressed(parts.panels(panels, chosen), title, caption)


def _smoothed_name(which: str) -> str:
    return f"fall of the paper's smoothed curve, {which}"


def _smoothed(curve: xr.Dataset, key: str) -> pd.DataFrame:
    """One smoothed curve in training mode, thinned evenly: epoch, norm, curve, seed."""
    values = curve[f"{key}_training"].dropna("point")
    keep = np.unique(np.linspace(0, values.size - 1, min(values.size, POINTS)).round().astype(int))
    return pd.DataFrame(
        {
            "epoch": values["epoch"].values[keep],
            "norm": values.values[keep],
            "curve": SMOOTHED[key],
            "seed": curve.attrs["seed"],
        }
    )


def _paper_panel(
    frame: pd.DataFrame, curves: list[xr.Dataset], factor: float, chosen: alt.Parameter
) -> alt.LayerChart:
    after, epochs = curves[0].attrs["after"], curves[0].attrs["epochs"]
    late = frame.loc[frame["curve"] == SMOOTHED["smoothed_after"], "norm"]
    start = float(np.exp(np.log(late[late > 0]).mean())) * factor**0.5
    guide = pd.DataFrame({"epoch": [after, epochs], "norm": [start, start / factor]})
    low, high = parts.log_range([*frame["norm"], *guide["norm"], start / factor / 1.3])
    names = list(SMOOTHED.values())
    scale, legend = alt.Scale(domain=names), parts.legend(None, lines=True)
    x = alt.X("epoch:Q", title="epoch", scale=alt.Scale(domain=[0, epochs], nice=False))
    base = alt.Chart(data.table(frame[frame["norm"] > 0])).encode(
        x=x, y=_y(low, high, "norm"), detail="seed:N"
    )
    lines = base.mark_line(strokeWidth=1.8).encode(
        color=alt.Color("curve:N", scale=scale, legend=legend),
        strokeDash=alt.StrokeDash(
            "curve:N", scale=alt.Scale(domain=names, range=[[7, 3], [1, 0]]), legend=legend
        ),
        opacity=parts.fading(chosen, 0.9),
        tooltip=["curve:N", "seed:N", "epoch:Q", alt.Tooltip("norm:Q", format=".3e")],
    )
    reference = alt.Chart(data.table(guide)).mark_line(style="paper").encode(x=x, y="norm:Q")
    label = (
        alt.Chart(data.table(guide.tail(1)))
        .mark_text(
            style="paper-label", align="right", dy=14, dx=-4, text=f"paper: falls by {factor:g}"
        )
        .encode(x=x, y="norm:Q")
    )
    return alt.layer(lines, reference, label)


# ---------------------------------------------------------------- as it is


def _arms(result: dict[str, Any], by_arm: dict[str, list[Parts]]) -> alt.TopLevelMixin:
    arms = _ordered(result)
    few = min(LARGE, max(18, ROWS // (len(KINDS) * len(arms))))
    chosen = parts.legend_choice("kind")
    panels, small, facts = [], {}, []
    for arm in arms:
        name, curve = arm["name"], by_arm[arm["name"]][0]["curve"]
        most = LARGE if name in result["deciding"] else few
        frame = pd.concat([_raw(curve, kind, most) for kind in KINDS]).assign(arm=name)
        if name not in result["deciding"]:
            small[name] = frame.assign(after=curve.attrs["after"])
            continue
        layers = _curves(frame, chosen)
        if curve.attrs["after"] >= frame["epoch"].min():
            layers.append(parts.vertical_line(curve.attrs["after"], "", "threshold"))
        panels.append(parts.panel(alt.layer(*layers), f"{name} (decides)"))
        ends = (
            wording.number(float(curve[f"smoothed_after_{kind}"][-1]))
            for kind in ("evaluation", "training")
        )
        facts.append(f"{' and '.join(ends)} ({name})")
    caption = (
        "One run of each arm, neither spliced nor smoothed (thin), and smoothed after the "
        "transient (thick). The vertical line is the last step of the learning rate; what is "
        "judged lies behind it. Smoothed norm at the end in evaluation and in training mode: "
        f"{', '.join(facts)}. Training mode takes the images in the order of the dataset, whose "
        "last batches can be small or lack a class. The other arms are in the small panels."
    )
    title = "The gradient norm, unspliced, with and without smoothing"
    first, *others = panels
    chart = alt.concat(first.add_params(chosen), *others, columns=2)
    if small:
        chart = alt.vconcat(chart, _grid(small, chosen))
    chart = chart.resolve_scale(color="shared", strokeDash="shared")
    return dressed(chart, title, caption)


def _grid(small: dict[str, pd.DataFrame], chosen: alt.Parameter) -> alt.FacetChart:
    """A small panel for each arm that does not decide, on the same axes."""
    frame = pd.concat(small.values())
    layers = _curves(frame, chosen, "‖∇f‖/√d")
    step = alt.Chart(layers[0].data).transform_aggregate(after="max(after)", groupby=["arm"])
    x = layers[0].encoding.x.copy()
    x.shorthand = "after:Q"
    layers.append(step.mark_rule(style="threshold").encode(x=x))
    return parts.small_panels(alt.layer(*layers), list(small), "Other arms")


def _raw(curve: xr.Dataset, kind: str, most: int) -> pd.DataFrame:
    """One curve from the second gradient on, thinned: epoch, norm, smoothed, kind."""
    kept = data.thin(curve.sizes["point"] - 1, most) + 1
    return pd.DataFrame(
        {
            "epoch": curve["epoch"].values[kept],
            "norm": curve[f"norm_{kind}"].values[kept],
            "smoothed": curve[f"smoothed_after_{kind}"].values[kept],
            "kind": KINDS[kind],
        }
    )


def _curves(frame: pd.DataFrame, chosen: alt.Parameter, title: str = TITLE) -> list[alt.Chart]:
    low, high = parts.log_range([*frame["norm"], *frame["smoothed"].dropna()])
    first, last = float(frame["epoch"].min()), float(frame["epoch"].max())
    labels = list(KINDS.values())
    legend = parts.legend(None, lines=True)
    scale, axis = parts.log_scale(low, high), parts.log_axis(title, low, high)
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X(
            "epoch:Q",
            scale=parts.log_scale(first, last),
            axis=parts.log_axis("epoch", first, last),
        ),
        color=alt.Color("kind:N", scale=alt.Scale(domain=labels), legend=legend),
        strokeDash=alt.StrokeDash(
            "kind:N", scale=alt.Scale(domain=labels, range=[[1, 0], [7, 3], [2, 3]]), legend=legend
        ),
    )
    smooth = base.mark_line(strokeWidth=2.4).encode(
        y=alt.Y("smoothed:Q", scale=scale, axis=axis), opacity=parts.fading(chosen, 0.95)
    )
    smooth = smooth.transform_filter("isValid(datum.smoothed) && datum.smoothed > 0")
    raw = base.mark_line(strokeWidth=0.8).encode(
        y=alt.Y("norm:Q", scale=scale, axis=axis),
        opacity=parts.fading(chosen, 0.6),
        tooltip=["kind:N", "epoch:Q", alt.Tooltip("norm:Q", format=".3e")],
    )
    return [smooth, raw.transform_filter("datum.norm > 0")]


# ---------------------------------------------------------------- falls


def _falls(result: dict[str, Any], by_arm: dict[str, list[Parts]]) -> alt.TopLevelMixin:
    factor = data.rule_parameter(result, "factor")
    paper = data.paper_value(result, NAME)
    low, high, share = paper / factor, paper * factor, data.rule_parameter(result, "share_percent")
    decisive = result["deciding"]
    shown_as = {name: f"{name} (decides)" if name in decisive else name for name in by_arm}
    stores = {shown_as[name]: [run["norms"] for run in runs] for name, runs in by_arm.items()}
    gathered, facts = estimates.Estimates(result, stores), []
    for arm in _ordered(result):
        shown = arm | {"name": shown_as[arm["name"]]}
        found = [gathered.add(shown, f"{NAME}, {label}", label) for label in KINDS.values()]
        if arm["name"] in decisive:
            said = " and ".join(wording.number(one["value"]) for one in found[:2])
            facts.append(f"{said} ({arm['name']})")
    bottom, top = parts.log_range([*gathered.values(), low, high])
    title = "fall: mean norm in the first window over that in the last"
    scale, axis = parts.log_scale(bottom, top), parts.log_axis(title, bottom, top, plain=True)
    marks = gathered.chart(title, row="arm", colour="of", scale=scale, axis=axis)
    band = (
        alt.Chart(data.table(pd.DataFrame([{"low": low, "high": high}])))
        .mark_rect(opacity=0.12, color="#7f7f7f")
        .encode(x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q")
    )
    line = parts.vertical_line(paper, f"paper: {wording.given(paper)}", y=-8)
    level = wording.percent(data.rule_parameter(result, "level"))
    caption = (
        f"How many times smaller the norm is in the last {share:g} % of the epochs than in the "
        f"first, after the transient, in evaluation and in training mode: {', '.join(facts)}. The "
        f"paper says {wording.given(paper)} (dashed), the rule allows {low:g} to {high:g} (grey); "
        f"below 1 the norm grows. Diamonds: geometric means over seeds, bars: {level} intervals, "
        "circles: seeds. Shuffled images have no part in the verdict. The table has all numbers."
    )
    height = max(120, (84 if len(result["arms"]) < 5 else 44) * len(result["arms"]))
    chart = alt.layer(band, marks, line).properties(width=parts.WIDE, height=height)
    return dressed(chart, "How far the gradient norm falls", caption)
