"""Charts of the increments: the paper's panel, the full band, and power ratios against nulls."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles import wording
from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.claims.increments import DECIDING, PICTURE

NAMES = ("spectrum-paper", "spectrum-full", "power-ratios")
NULLS = {
    "random-walk": "random walk",
    "ornstein-uhlenbeck": "Ornstein–Uhlenbeck",
    "epoch-noise": "epoch noise",
}
DASHES = [[1, 0], [7, 3], [3, 3], [1, 3]]
WEIGHTS = "weights"
COLOURS = [CATEGORY[0], CATEGORY[1], CATEGORY[2], CATEGORY[3]]
DOTS, POINTS = 60, 80  # weights and frequencies that are drawn of an arm
ENDS = {
    "low": "lowest {low:g} % of the frequencies",
    "high": "highest {high:g} % of the frequencies",
}


def draw(
    result: dict[str, Any],
    analyses: dict[str, list[dict[str, xr.Dataset]]],
    study: dict[str, xr.Dataset] | None = None,
) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from the analyses of its arms; spectra are those of the first seed."""
    arms = {arm["name"]: (arm, analyses.get(arm["run"])) for arm in result["arms"]}
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


def _panels(charts: list[alt.TopLevelMixin]) -> alt.TopLevelMixin:
    if not charts:
        return parts.panel(alt.Chart(alt.InlineData(values=[{}])).mark_point(), "no weight moves")
    return alt.concat(*charts, columns=2).resolve_scale(color="shared", strokeDash="shared")


# ---------------------------------------------------------------- the paper's panel


def _paper(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    drawn = _with(arms, "amplitudes")
    charts = [_amplitudes(name, found) for name, found in drawn.items()]
    facts = []
    for name in drawn:
        arm = arms[name][0]
        ends = [
            data.statistic(result, arm, f"paper's picture, {part} over middle")["value"]
            for part in PICTURE
        ]
        facts.append(f"{name} {', '.join(map(wording.number, ends))}")
    caption = (
        "The paper's estimator: |FFT| of the increments of each weight from epoch to epoch, mean "
        "over weights with the 95 % band of that mean, in the first 1,000 frequencies, which of "
        "10⁵ epochs are the lowest 2 %; the frequency zero is left out. The dashed line is what "
        "independent steps of the same size give. Amplitude at the first frequency, in the lowest "
        "2 % and in the highest 10 % of this picture, over the mean between: "
        f"{'; '.join(facts) or 'no weight moves'}."
    )
    return dressed(_panels(charts), "Increments of the weights as in Fig. 3a", caption)


def _amplitudes(name: str, found: xr.Dataset) -> alt.TopLevelMixin:
    keep = 1 + data.thin(found.sizes["frequency"] - 1, 2 * POINTS)
    frame = found[["mean", "low", "high"]].isel(frequency=keep).to_dataframe().reset_index()
    frame["low"] = frame["low"].clip(lower=frame["mean"] / 10)
    walk = float(found["walk"])
    left, right = frame["frequency"].min(), frame["frequency"].max()
    low, high = parts.log_range([*frame["low"], *frame["high"], walk])
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X(
            "frequency:Q",
            scale=parts.log_scale(left, right),
            axis=parts.log_axis("frequency (1/epoch)", left, right),
        )
    )
    scale, axis = parts.log_scale(low, high), parts.log_axis("amplitude (weight)", low, high)
    band = base.mark_area(opacity=0.3).encode(y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q")
    line = base.mark_line(strokeWidth=1.3).encode(
        y=alt.Y("mean:Q", scale=scale, axis=axis),
        tooltip=[
            alt.Tooltip("frequency:Q", format=".3e"),
            alt.Tooltip("mean:Q", title="amplitude", format=".3e"),
        ],
    )
    one = alt.Chart(alt.InlineData(values=[{}]))
    rule = one.mark_rule(style="threshold").encode(y=alt.datum(walk))
    # Not at the left end, where the lines rise.
    label = one.mark_text(style="threshold-label", dy=-8, text="independent steps").encode(
        x=alt.value(parts.PANEL_WIDTH * 0.4), y=alt.datum(walk)
    )
    return parts.panel(alt.layer(band, line, rule, label), f"arm: {name}")


# ---------------------------------------------------------------- the full band


def _full(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    drawn = _with(arms, "multitaper")
    charts = [_band(name, found) for name, found in drawn.items()]
    facts = []
    for name, found in drawn.items():
        mean = found["relative_mean"]
        lowest, top = float(mean[0]), float(mean[-1])
        least = float(found["frequency"][int(np.argmin(mean.values))])
        facts.append(
            f"{name}: {wording.number(lowest)} epochs at the lowest frequency, "
            f"{wording.number(top)} at the highest, least at {wording.number(least)} per epoch"
        )
    caption = (
        "One-sided density of the increments of each weight over their mean square, by Thomson's "
        "multitaper estimate over the whole band: mean over weights, and where 50 % and 90 % of "
        "the weights lie. Independent steps are flat at 2 epochs. Broken lines: the mean over "
        "weights of three nulls, each fitted to each weight. "
        f"{'. '.join(facts) or 'No weight moves'}."
    )
    return dressed(_panels(charts), "The whole spectrum of the increments", caption)


def _band(name: str, found: xr.Dataset) -> alt.TopLevelMixin:
    keep = np.unique(np.linspace(0, found.sizes["frequency"] - 1, POINTS).round().astype(int))
    thin = found.isel(frequency=keep)
    frame = pd.DataFrame({"frequency": thin["frequency"].values})
    for quantile in thin["quantile"].values:
        frame[f"q{100 * quantile:.0f}"] = thin["relative_quantile"].sel(quantile=quantile).values
    frame[WEIGHTS] = thin["relative_mean"].values
    for null, label in NULLS.items():
        frame[label] = thin["null_mean"].sel(null=null).values
    left, right = frame["frequency"].min(), 0.5
    # A null can fall by many decades below what is drawn of the data.
    least = frame[["q5", WEIGHTS]].min().min()
    shown = frame[list(NULLS.values())].to_numpy()
    low, high = parts.log_range(
        [least, *np.maximum(shown.min(0), least / 10), frame["q95"].max(), shown.max()]
    )
    kinds = [WEIGHTS, *NULLS.values()]
    scale, axis = parts.log_scale(low, high), parts.log_axis("density (epoch)", low, high)
    base = alt.Chart(data.table(frame)).encode(
        x=alt.X(
            "frequency:Q",
            scale=parts.log_scale(left, right),
            axis=parts.log_axis("frequency (1/epoch)", left, right),
        )
    )
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
    return parts.panel(alt.layer(*areas, lines), f"arm: {name}")


# ---------------------------------------------------------------- ratios


def _ratios(result: dict[str, Any], arms: dict) -> alt.TopLevelMixin:
    bands = {end: data.rule_parameter(result, f"{end}_percent") for end in ENDS}
    needed = data.rule_parameter(result, "weights_percent")
    gathered = {name: _moving(seeds) for name, (_, seeds) in arms.items()}
    gathered = {name: found for name, found in gathered.items() if found.sizes["weight"]}
    charts = [
        _strips(end, title.format(**bands), gathered) for end, title in ENDS.items() if gathered
    ]
    facts = []
    for name in gathered:
        shares = [
            wording.estimate(
                data.statistic(result, arms[name][0], f"weights above all nulls, {end}")
            )
            for end in ENDS
        ]
        facts.append(f"{name} {shares[0]} (low) and {shares[1]} (high)")
    caption = (
        "Log of the mean power at either end of the band over that between. Dots: single weights "
        f"of all seeds, {DOTS} of each arm evenly over their order. Bars: the pointwise 95 % "
        "envelopes of the fitted nulls, medians over weights, and thin where the ends of 90 % of "
        "the weights' envelopes lie. The claim holds in an arm if at both ends at least "
        f"{needed:g} % of the weights lie to the right of all three; the arms that decide are "
        f"{' and '.join(DECIDING)}. Weights above all nulls: {'; '.join(facts) or 'none moves'}."
    )
    title = "Power at the ends of the band against fitted nulls"
    return dressed(_panels(charts), title, caption)


def _moving(seeds: list[dict[str, xr.Dataset]]) -> xr.Dataset:
    """The part "weights" of all seeds, the paper's look, of the weights that move."""
    each = [
        seed["weights"]
        .sel(look="periodogram")
        .isel(weight=np.flatnonzero(seed["weights"]["moving"]))
        for seed in seeds
    ]
    return xr.concat(each, "weight")


def _strips(end: str, title: str, gathered: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    dots, bars = [], []
    for name, found in gathered.items():
        one = found.sel(end=end)
        order = np.sort(one["ratio"].values)
        keep = np.unique(np.linspace(0, len(order) - 1, DOTS).round().astype(int))
        dots.append(pd.DataFrame({"arm": name, "of": WEIGHTS, "ratio": order[keep]}))
        for null, label in NULLS.items():
            low, high = one["envelope_low"].sel(null=null), one["envelope_high"].sel(null=null)
            bars.append(
                {
                    "arm": name,
                    "of": label,
                    "low": float(low.median()),
                    "high": float(high.median()),
                    "lowest": float(low.quantile(0.05)),
                    "highest": float(high.quantile(0.95)),
                }
            )
    kinds = [WEIGHTS, *NULLS.values()]
    place: dict[str, Any] = {
        "y": alt.Y("arm:N", title=None, sort=list(gathered)),
        "yOffset": alt.YOffset("of:N", sort=kinds),
        "color": alt.Color(
            "of:N",
            scale=alt.Scale(domain=kinds, range=COLOURS),
            legend=parts.legend(None),
        ),
    }

    def x(field: str) -> alt.X:
        title = "log power ratio (nats)"
        axis = alt.Axis(title=title, tickCount=6)
        return alt.X(f"{field}:Q", title=title, scale=alt.Scale(zero=False), axis=axis)

    embedded = data.table(pd.DataFrame(bars))
    named = [alt.Tooltip("arm:N"), alt.Tooltip("of:N", title="of")]
    span = [*named, *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("low", "high"))]
    thin = (
        alt.Chart(embedded)
        .mark_rule(strokeWidth=1.2)
        .encode(**place, x=x("lowest"), x2="highest:Q")
    )
    thick = (
        alt.Chart(embedded)
        .mark_rule(strokeWidth=6)
        .encode(**place, x=x("low"), x2="high:Q", tooltip=span)
    )
    points = (
        alt.Chart(data.table(pd.concat(dots)))
        .mark_point(filled=True, size=22, opacity=0.6)
        .encode(**place, x=x("ratio"), tooltip=[*named, alt.Tooltip("ratio:Q", format=".3f")])
    )
    zero = (
        alt.Chart(alt.InlineData(values=[{}])).mark_rule(style="threshold").encode(x=alt.datum(0))
    )
    return alt.layer(zero, points, thin, thick).properties(
        title=alt.Title(title, fontSize=13), width=parts.PANEL_WIDTH, height=len(gathered) * 64
    )
