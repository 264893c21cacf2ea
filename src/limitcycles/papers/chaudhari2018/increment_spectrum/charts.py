"""Charts of the increments: the paper's panel, the full band, and power ratios against nulls."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.increment_spectrum.rule import PICTURE

NAMES = ("spectrum-paper", "spectrum-full", "power-ratios")
NULLS = {
    "random-walk": "random walk",
    "ornstein-uhlenbeck": "Ornstein–Uhlenbeck",
    "epoch-noise": "epoch noise",
}
DASHES = [[1, 0], [7, 3], [3, 3], [1, 3]]
WEIGHTS = "weights"
COLOURS = [CATEGORY[0], CATEGORY[1], CATEGORY[2], CATEGORY[3]]
DOTS, POINTS = 60, 80  # weights and frequencies that are drawn of an arm that decides
SMALL, ROWS = 40, 2400  # frequencies of each other arm, and of all others together
ENDS = {
    "low": "lowest {low:g} % of the frequencies",
    "high": "highest {high:g} % of the frequencies",
}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, by arm; spectra are those of the first seed."""
    arms = {arm["name"]: (arm, evidence.by_arm.get(arm["name"])) for arm in result["arms"]}
    missing = [name for name, (_, seeds) in arms.items() if not seeds]
    if missing or not arms:
        raise data.ChartDataError(
            f"the charts of {result['id']} need the increments of the arms {', '.join(missing)}; "
            "make the claim and its inputs anew."
        )
    return {
        "spectrum-paper": _paper(result, arms),
        "spectrum-full": _full(result, arms),
        "power-ratios": _ratios(result, arms),
    }


def _with(arms: dict, part: str) -> dict[str, xr.Dataset]:
    """That part of the first seed of each arm in which at least two weights move."""
    first = {name: seeds[0][part] for name, (_, seeds) in arms.items()}
    return {name: found for name, found in first.items() if "frequency" in found.dims}


def _layout(large: list[alt.TopLevelMixin], small: alt.TopLevelMixin | None) -> alt.TopLevelMixin:
    """Large panels of the arms that decide above the grid of the others."""
    rows = [alt.concat(*large, columns=2)] if large else []
    if small is not None:
        rows.append(small)
    if not rows:
        return parts.panel(alt.Chart(alt.InlineData(values=[{}])).mark_point(), "no weight moves")
    return alt.vconcat(*rows).resolve_scale(color="shared", strokeDash="shared")


def _split(result: dict[str, Any], found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arms that decide, and the others."""
    deciding = {name: found[name] for name in result["deciding"] if name in found}
    return deciding, {name: one for name, one in found.items() if name not in deciding}


def _points(others: dict[str, Any]) -> int:
    return max(12, min(SMALL, ROWS // max(1, len(others))))


def _x(left: float, right: float) -> alt.X:
    return alt.X(
        "frequency:Q",
        scale=parts.log_scale(left, right),
        axis=parts.log_axis("frequency (1/epoch)", left, right),
    )


# ---------------------------------------------------------------- the paper's panel


def _paper(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    deciding, others = _split(result, _with(arms, "amplitudes"))
    charts, facts = [], []
    for name, found in deciding.items():
        first, low, high = (
            data.statistic(result, arms[name][0], key)["value"]
            for key in (
                f"paper's picture, {PICTURE[0]} over middle",
                *(f"weights above all nulls, {end}" for end in ENDS),
            )
        )
        said = [
            f"paper: the first frequency has {wording.number(first)} times the middle",
            f"calibrated: {wording.number(low)} % (low) and {wording.number(high)} % (high) of "
            "weights above all nulls",
        ]
        title = alt.Title(f"{name} (decides)", subtitle=said, fontSize=13)
        charts.append(_amplitudes(found).properties(title=title))
        facts.append(f"{wording.number(first)} ({name})")
    level = wording.percent(data.rule_parameter(result, "level"))
    caption = (
        "The paper's estimator: |FFT| of the steps of each weight from epoch to epoch, mean over "
        f"weights with its {level} band, in the first 1,000 frequencies without 0. Dashed: "
        "independent steps of the same size. Amplitude at the first frequency over the middle: "
        f"{', '.join(facts) or 'no weight moves'}. That it rises at an end does not show more than "
        "noise: the chart of the power ratios holds it against fitted nulls. The other arms are "
        "in the small panels."
    )
    chart = _layout(charts, _small_amplitudes(others))
    return dressed(chart, "Increments of the weights as in Fig. 3a", caption)


def _amplitude_frame(found: xr.Dataset, most: int) -> pd.DataFrame:
    keep = 1 + data.thin(found.sizes["frequency"] - 1, most)
    frame = found[["mean", "low", "high"]].isel(frequency=keep).to_dataframe().reset_index()
    frame["low"] = frame["low"].clip(lower=frame["mean"] / 10)
    return frame


def _amplitudes(found: xr.Dataset) -> alt.TopLevelMixin:
    frame = _amplitude_frame(found, 2 * POINTS)
    walk = float(found["walk"])
    low, high = parts.log_range([*frame["low"], *frame["high"], walk])
    one = alt.Chart(alt.InlineData(values=[{}]))
    rule = one.mark_rule(style="threshold").encode(y=alt.datum(walk))
    # Not at the left end, where the lines rise.
    label = one.mark_text(style="threshold-label", dy=-8, text="independent steps").encode(
        x=alt.value(parts.PANEL_WIDTH * 0.4), y=alt.datum(walk)
    )
    layers = _band_and_mean(frame, low, high, "amplitude (weight)")
    return parts.panel(alt.layer(*layers, rule, label), "")


def _small_amplitudes(others: dict[str, xr.Dataset]) -> alt.FacetChart | None:
    """Amplitudes over those of independent steps, so that all arms fit one axis."""
    frames = []
    for name, found in others.items():
        frame = _amplitude_frame(found, _points(others)).assign(arm=name)
        frame[["mean", "low", "high"]] /= float(found["walk"])
        frames.append(frame[["arm", "frequency", "mean", "low", "high"]])
    if not frames:
        return None
    frame = pd.concat(frames)
    low, high = parts.log_range([*frame["low"], *frame["high"], 1.0])
    layers = _band_and_mean(frame, low, high, "over independent")
    one = alt.Chart(layers[0].data).transform_aggregate(rows="count()", groupby=["arm"])
    layers.append(one.mark_rule(style="threshold").encode(y=alt.datum(1)))
    title = "Other arms: amplitude over that of independent steps (dashed)"
    return parts.small_panels(alt.layer(*layers), list(others), title)


def _band_and_mean(frame: pd.DataFrame, low: float, high: float, title: str) -> list[alt.Chart]:
    scale, axis = parts.log_scale(low, high), parts.log_axis(title, low, high)
    base = alt.Chart(data.table(frame)).encode(
        x=_x(frame["frequency"].min(), frame["frequency"].max())
    )
    band = base.mark_area(opacity=0.3).encode(y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=1.3).encode(
        y=alt.Y("mean:Q", scale=scale, axis=axis),
        tooltip=[
            alt.Tooltip("frequency:Q", format=".3e"),
            alt.Tooltip("mean:Q", title="amplitude", format=".3e"),
        ],
    )
    return [band, line]


# ---------------------------------------------------------------- the full band


def _full(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    moving = _with(arms, "multitaper")
    # Steps so small that their squares are 0 (a run without noise at its end) have no density.
    drawn = {n: one for n, one in moving.items() if np.isfinite(one["relative_mean"]).all()}
    deciding, others = _split(result, drawn)
    charts = [
        parts.panel(_density([_density_frame(name, found, POINTS)]), f"{name} (decides)")
        for name, found in deciding.items()
    ]
    facts = [
        f"{wording.number(float(found['relative_mean'][0]))} at the lowest and "
        f"{wording.number(float(found['relative_mean'][-1]))} at the highest frequency ({name})"
        for name, found in deciding.items()
    ]
    small = None
    if others:
        frames = [_density_frame(name, found, _points(others)) for name, found in others.items()]
        lost = ", ".join(name for name in moving if name not in drawn)
        title = "Other arms" + (f" (without {lost}: steps too small for a density)" if lost else "")
        small = parts.small_panels(_density(frames), list(others), title)
    caption = (
        "Density of the increments of each weight over their mean square, by Thomson's multitaper "
        "estimate in the whole band: mean over weights (line), and where 50 % and 90 % of them lie "
        "(shaded). Independent steps are flat at 2 epochs. Broken lines are nulls fitted to each "
        f"weight. The mean in epochs: {'; '.join(facts) or 'no weight moves'}. The other arms are "
        "in the small panels."
    )
    return dressed(_layout(charts, small), "The whole spectrum of the increments", caption)


def _density_frame(name: str, found: xr.Dataset, most: int) -> pd.DataFrame:
    # The nulls bend at the high frequencies: half of the points evenly, half on a log scale.
    count = found.sizes["frequency"]
    even = np.linspace(0, count - 1, most // 2).round().astype(int)
    thin = found.isel(frequency=np.union1d(even, data.thin(count, most - most // 2)))
    frame = pd.DataFrame({"arm": name, "frequency": thin["frequency"].values})
    for quantile in thin["quantile"].values:
        frame[f"q{100 * quantile:.0f}"] = thin["relative_quantile"].sel(quantile=quantile).values
    frame[WEIGHTS] = thin["relative_mean"].values
    for null, label in NULLS.items():
        frame[label] = thin["null_mean"].sel(null=null).values
    return frame.replace(np.inf, np.nan)


def _density(frames: list[pd.DataFrame]) -> alt.LayerChart:
    frame = pd.concat(frames)
    # A null can fall by many decades below what is drawn of the data.
    least = frame[["q5", WEIGHTS]].min().min()
    shown = frame[list(NULLS.values())].to_numpy()
    low, high = parts.log_range(
        [
            least,
            *np.maximum(np.nanmin(shown, 0), least / 10),
            frame["q95"].max(),
            np.nanmax(shown),
        ]
    )
    kinds = [WEIGHTS, *NULLS.values()]
    scale, axis = parts.log_scale(low, high), parts.log_axis("density (epoch)", low, high)
    base = alt.Chart(data.table(frame)).encode(x=_x(frame["frequency"].min(), 0.5))
    areas = [
        base.mark_area(opacity=opacity, color=COLOURS[0], clip=True).encode(
            y=alt.Y(f"{a}:Q", scale=scale, axis=axis), y2=f"{b}:Q"
        )
        for a, b, opacity in (("q5", "q95", 0.18), ("q25", "q75", 0.28))
    ]
    legend = parts.legend(None, lines=True)
    lines = (
        base.transform_fold(kinds, as_=["of", "density"])
        .mark_line(strokeWidth=1.6, clip=True)
        .encode(
            y=alt.Y("density:Q", scale=scale, axis=axis),
            color=alt.Color(
                "of:N", scale=alt.Scale(domain=kinds, range=COLOURS), sort=None, legend=legend
            ),
            strokeDash=alt.StrokeDash(
                "of:N", scale=alt.Scale(domain=kinds, range=DASHES), legend=legend
            ),
            tooltip=[
                alt.Tooltip("of:N", title="of"),
                alt.Tooltip("frequency:Q", format=".3e"),
                alt.Tooltip("density:Q", format=".3g"),
            ],
        )
    )
    return alt.layer(*areas, lines)


# ---------------------------------------------------------------- ratios


def _ratios(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    bands = {end: data.rule_parameter(result, f"{end}_percent") for end in ENDS}
    needed = data.rule_parameter(result, "weights_percent")
    level = wording.percent(data.rule_parameter(result, "level"))
    gathered = {name: _moving(seeds) for name, (_, seeds) in arms.items()}
    moving = {name: found for name, found in gathered.items() if found.sizes["weight"]}
    groups = _split(result, moving)
    charts = []
    for end, title in ENDS.items():
        rows = [
            _strips(end, found, row, dotted)
            for found, row, dotted in zip(groups, (76, 38), (True, False), strict=True)
            if found
        ]
        if rows:
            both = alt.vconcat(*rows, spacing=8).resolve_scale(
                x="independent", yOffset="independent", color="shared"
            )
            title = alt.Title(title.format(**bands), fontSize=13)
            charts.append(both.properties(title=title))
    facts = []
    for name in groups[0]:
        low, high = (
            data.statistic(result, arms[name][0], f"weights above all nulls, {end}")["value"]
            for end in ENDS
        )
        facts.append(f"{wording.number(low)} % (low) and {wording.number(high)} % (high) in {name}")
    caption = (
        "Log of the mean power at either end of the band over that between. Bars: half of the "
        f"weights, and the median {level} envelopes of the fitted nulls; thin lines: 90 % of them; "
        f"dots: {DOTS} single weights. The claim holds in an arm if at both ends {needed:g} % of "
        "the weights lie to the right of all three nulls. Such weights are "
        f"{'; '.join(facts) or 'none'}. The numbers of the other arms are in the "
        "table."
    )
    title = "Power at the ends of the band against fitted nulls"
    return dressed(_layout(charts, None), title, caption)


def _moving(seeds: list[dict[str, xr.Dataset]]) -> xr.Dataset:
    """The part "weights" of all seeds, the paper's look, of the weights that move."""
    each = [
        seed["weights"]
        .sel(look="periodogram")
        .isel(weight=np.flatnonzero(seed["weights"]["moving"]))
        for seed in seeds
    ]
    return xr.concat(each, "weight")


def _strips(end: str, gathered: dict[str, xr.Dataset], row: int, dotted: bool) -> alt.LayerChart:
    """Rows of `row` pixels; single weights too, as dots, if `dotted`."""
    dots, bars = [], []
    for name, found in gathered.items():
        one = found.sel(end=end)
        ratio = np.sort(one["ratio"].values)
        if dotted:
            keep = np.unique(np.linspace(0, len(ratio) - 1, DOTS).round().astype(int))
            dots.append(pd.DataFrame({"arm": name, "of": WEIGHTS, "ratio": ratio[keep]}))
        spans = [(WEIGHTS, np.quantile(ratio, [0.25, 0.75, 0.05, 0.95]))]
        for null, label in NULLS.items():
            low, high = (one[f"envelope_{side}"].sel(null=null) for side in ("low", "high"))
            ends = (low.median(), high.median(), low.quantile(0.05), high.quantile(0.95))
            spans.append((label, ends))
        for label, ends in spans:
            columns = zip(("low", "high", "lowest", "highest"), map(float, ends), strict=True)
            bars.append({"arm": name, "of": label} | dict(columns))
    kinds = [WEIGHTS, *NULLS.values()]
    place: dict[str, Any] = {
        "y": alt.Y("arm:N", title=None, sort=list(gathered)),
        "yOffset": alt.YOffset("of:N", sort=kinds),
        "color": alt.Color(
            "of:N", scale=alt.Scale(domain=kinds, range=COLOURS), legend=parts.legend(None)
        ),
    }

    def x(field: str) -> alt.X:
        title = "log power ratio (nats)"
        axis = alt.Axis(title=title, tickCount=6)
        return alt.X(f"{field}:Q", title=title, scale=alt.Scale(zero=False), axis=axis)

    base = alt.Chart(data.table(pd.DataFrame(bars))).encode(**place)
    named = [alt.Tooltip("arm:N"), alt.Tooltip("of:N", title="of")]
    span = [*named, *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("low", "high"))]
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(style="threshold")
    layers = [
        zero.encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=1.2).encode(x=x("lowest"), x2="highest:Q"),
        base.mark_rule(strokeWidth=5).encode(x=x("low"), x2="high:Q", tooltip=span),
    ]
    if dots:
        single = alt.Chart(data.table(pd.concat(dots))).mark_point(
            filled=True, size=18, opacity=0.6
        )
        tooltip = [*named, alt.Tooltip("ratio:Q", format=".3f")]
        layers.append(single.encode(**place, x=x("ratio"), tooltip=tooltip))
    return alt.layer(*layers).properties(width=parts.PANEL_WIDTH - 80, height=len(gathered) * row)
