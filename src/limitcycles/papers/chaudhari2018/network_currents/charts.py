"""Charts of the claim that SGD on a network circulates."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from limitcycles.charts import data, parts
from limitcycles.charts.theme import CATEGORY, dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.papers.chaudhari2018.network_currents.planes import detections, slope
from limitcycles.statistics.detection import Detection, corrected
from limitcycles.statistics.slopes import Slope

NAMES = ("area-rates", "predicted-measured", "swept-area")
PASSES = {True: "passes the gate", False: "does not"}
GATES = list(PASSES.values())
COLOURS = alt.Scale(domain=GATES, range=[CATEGORY[0], "#8a8f98"])  # grey: does not count
MEASURED, PREDICTED = "measured", "linear theory"
WHOLE, FAST = "the coordinates themselves", "without their slow parts"
Seeds = dict[str, list[xr.Dataset]]


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, of the arms that decide, from their measurements."""
    seeds = _deciding(result, evidence.by_arm)
    return {
        "area-rates": _rates(result, seeds),
        "predicted-measured": _scatter(result, seeds),
        "swept-area": _swept(seeds),
    }


def _deciding(result: dict[str, Any], by_arm: dict) -> Seeds:
    """The part `planes` of the arms that decide, by arm, one a seed."""
    arms = [a for a in result["arms"] if a["name"] in result["deciding"]] or result["arms"]
    found = {}
    for arm in arms:
        mine = by_arm.get(arm["name"])
        if not mine:
            raise data.ChartDataError(
                f"the charts of {result['id']} need the analysis of the trajectory "
                f"'{arm['run']}' and were given none; make the claim and its inputs anew."
            )
        found[arm["name"]] = [each["planes"] for each in mine]
    return found


def _axis(title: str, form: str = "~r") -> alt.Axis:
    return alt.Axis(title=title, format=form, tickCount=5)


def _domain(values: np.ndarray) -> alt.Scale:
    """A linear scale that holds all values, with some room: ends of lines count as well.

    Its ends are left open if no value is finite.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return alt.Scale(zero=False)
    low, high = float(values.min()), float(values.max())
    room = 0.04 * (high - low) or 1.0
    return alt.Scale(domain=[low - room, high + room], nice=False, zero=False)


def _scale(values: np.ndarray) -> tuple[float, str]:
    """A power of ten to divide by, so that the largest lies between 1 and 1,000, and its words."""
    size = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    power = 0 if size == 0 else 3 * int(np.floor(np.log10(size) / 3))
    unit = "" if power == 0 else wording.number(10.0**power, 1).replace("1·", "") + " "
    return 10.0**power, unit


# ---------------------------------------------------------------- area rates


def _rates(result: dict[str, Any], seeds: Seeds) -> alt.TopLevelMixin:
    parameters = result["rule_parameters"]
    panels, words = [], []
    for name, tables in seeds.items():
        detected = detections(tables, parameters)
        level = corrected(parameters["level"], sum(t.sizes["plane"] for t in tables))
        frame = pd.concat([_rate_rows(*each, level) for each in zip(tables, detected, strict=True)])
        unit, said = _scale(frame[["low", "high", "band"]].values)
        frame[["rate", "low", "high", "band"]] /= unit
        frame["minus"] = -frame["band"]
        clear = int(((frame["low"] > 0) | (frame["high"] < 0)).sum())
        counted = int((frame["gate"] == PASSES[True]).sum())
        title = alt.Title(
            name,
            subtitle=[
                f"interval alone: a current in {clear} of {len(frame)} planes",
                f"calibrated: {counted} pass the gate, a current in "
                f"{sum(int(one.found.sum()) for one in detected)}",
            ],
            fontSize=13,
        )
        panels.append(_rate_panel(frame, said).properties(title=title))
        words.append(f"{counted} of {len(frame)} ({name})")
    chart = alt.concat(*panels, columns=2).resolve_scale(color="shared", shape="shared")
    caption = (
        "Area rate ½⟨x dy − y dx⟩ in planes chosen beforehand: pairs of leading Hessian "
        "eigenvectors, and random ones. Lines: intervals at a level corrected for all planes of "
        "the arm; pale bars: where surrogates with independent phases lie. Only planes whose "
        "directions are in a steady state (the gate) count, since a drift looks like a current. "
        f"The gate lets pass {', '.join(words)} planes."
    )
    return dressed(chart, "Area rates in planes chosen beforehand", caption)


def _rate_rows(planes: xr.Dataset, detected: Detection, level: float) -> pd.DataFrame:
    half = stats.t.ppf((1 + level) / 2, planes.sizes["batch"] - 1) * planes["error"].values
    rate = planes["rate"].values
    band = stats.norm.ppf((1 + level) / 2) * planes["surrogate_deviation"].values
    return pd.DataFrame(
        {
            "plane": planes["plane"].values,
            "seed": str(planes.attrs["seed"]),
            "rate": rate,
            "low": rate - half,
            "high": rate + half,
            "band": band,
            "gate": [PASSES[bool(g)] for g in detected.stationary],
        }
    )


def _rate_panel(frame: pd.DataFrame, unit: str) -> alt.LayerChart:
    order = list(dict.fromkeys(frame["plane"]))
    base = alt.Chart(data.table(frame)).encode(
        y=alt.Y("plane:N", sort=order, title=None), yOffset=alt.YOffset("seed:N")
    )
    title = _axis(f"area rate ({unit}weight² per epoch)")
    scale = _domain(frame[["low", "high", "band", "minus"]].values)
    band = base.mark_bar(opacity=0.25, color="#8a8f98", height={"band": 0.8}).encode(
        x=alt.X("minus:Q", axis=title, scale=scale), x2="band:Q"
    )
    colour = alt.Color("gate:N", scale=COLOURS, legend=parts.legend("plane", below=True))
    shape = alt.Shape(
        "gate:N",
        scale=alt.Scale(domain=GATES, range=["circle", "cross"]),
        legend=parts.legend("plane", below=True),
    )
    lines = base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q", color=colour)
    points = base.mark_point(size=45, filled=True).encode(
        x="rate:Q",
        color=colour,
        shape=shape,
        tooltip=["plane:N", "seed:N", *(f"{c}:Q" for c in ("rate", "low", "high")), "gate:N"],
    )
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(style="threshold")
    layers = alt.layer(band, zero.encode(x=alt.datum(0)), lines, points)
    return layers.properties(width=parts.PANEL_WIDTH, height=330)


# ---------------------------------------------------------------- prediction


def _scatter(result: dict[str, Any], seeds: Seeds) -> alt.TopLevelMixin:
    parameters = result["rule_parameters"]
    rows, words = [], []
    for name, tables in seeds.items():
        lines = {fast: slope(tables, parameters, fast=fast) for fast in (False, True)}
        rows += [_scatter_panel(tables, parameters, name, fast, lines[fast]) for fast in lines]
        words.append(f"{' and '.join(map(_slope_words, lines.values()))} ({name})")
    chart = alt.concat(*rows, columns=2).resolve_scale(color="shared", shape="shared")
    caption = (
        "Measured area rates against those of the linear theory, in planes of Hessian "
        "eigenvectors. Horizontal lines span the predictions along the run, vertical ones are "
        f"{wording.percent(parameters['level'])} intervals. Dashed: slope 1, a perfect "
        "theory; solid: the slope over planes that pass the gate. On the right slow drifts are "
        "taken out (beside the rule). Slopes left and right: "
        f"{', '.join(words)}."
    )
    return dressed(chart, "Measured and predicted area rates", caption)


def _slope_words(line: Slope | None) -> str:
    return "none" if line is None else wording.number(line.slope)


def _scatter_panel(
    tables: list[xr.Dataset], parameters: dict, name: str, fast: bool, line: Slope | None
) -> alt.LayerChart:
    of = "fast_" if fast else ""
    frames = []
    detected = detections(tables, parameters, fast=fast)
    for planes, gate in zip(tables, (one.stationary for one in detected), strict=True):
        use = ~planes["random"].values
        t = stats.t.ppf((1 + parameters["level"]) / 2, planes.sizes["batch"] - 1)
        half = t * planes[f"{of}error"].values[use]
        rate, predicted = planes[f"{of}rate"].values[use], planes["predicted"].values[:, use]
        # A place where no mode relaxes predicts nothing.
        mean, least, most = _over_places(predicted)
        frames.append(
            pd.DataFrame(
                {
                    "plane": planes["plane"].values[use],
                    "seed": str(planes.attrs["seed"]),
                    "predicted": mean,
                    "least": least,
                    "most": most,
                    "measured": rate,
                    "low": rate - half,
                    "high": rate + half,
                    "gate": [PASSES[bool(g)] for g in gate[use]],
                }
            )
        )
    frame = pd.concat(frames)
    numbers = list(frame.columns.drop(["plane", "seed", "gate"]))
    unit, said = _scale(frame[numbers].values)
    frame[numbers] /= unit
    legend = parts.legend("plane", below=True)
    base = alt.Chart(data.table(frame)).encode(
        color=alt.Color("gate:N", scale=COLOURS, legend=legend)
    )
    across, up = _domain(frame[["least", "most"]].values), _domain(frame[["low", "high"]].values)
    x = alt.X("predicted:Q", axis=_axis(f"predicted ({said}weight² per epoch)"), scale=across)
    y = alt.Y("measured:Q", axis=_axis(f"measured ({said}weight² per epoch)"), scale=up)
    shape = alt.Shape(
        "gate:N", scale=alt.Scale(domain=GATES, range=["circle", "cross"]), legend=legend
    )
    layers = [
        base.mark_rule(opacity=0.5).encode(x=alt.X("least:Q"), x2="most:Q", y=y),
        base.mark_rule(opacity=0.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=50).encode(
            x=x, y=y, shape=shape, tooltip=["plane:N", "seed:N", "predicted:Q", "measured:Q"]
        ),
    ]
    ends = np.array([frame["least"].min(), frame["most"].max()])
    slopes = [(1.0, [6, 4])] + ([] if line is None else [(line.slope, [1, 0])])
    if np.isfinite(ends).all():
        layers = [*(_line(ends, *each) for each in slopes), *layers]
    slope_words = "no plane passes the gate"
    if line is not None:
        slope_words = f"slope {_slope_words(line)} {wording.interval((line.low, line.high))}"
    title = f"{name}: {FAST if fast else WHOLE}"
    return alt.layer(*layers).properties(
        title=alt.Title(title, subtitle=slope_words, fontSize=13),
        width=parts.PANEL_WIDTH,
        height=parts.PANEL_HEIGHT,
    )


def _over_places(predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, least and most of (place, plane) over the places that predict; else NaN."""
    masked = np.ma.masked_invalid(predicted)
    return tuple(f(axis=0).filled(np.nan) for f in (masked.mean, masked.min, masked.max))


def _line(ends: np.ndarray, slope: float, dash: list[int]) -> alt.Chart:
    frame = pd.DataFrame({"predicted": ends, "measured": slope * ends})
    return (
        alt.Chart(data.table(frame))
        .mark_line(style="threshold", strokeDash=dash, clip=True)
        .encode(x="predicted:Q", y="measured:Q")
    )


# ---------------------------------------------------------------- swept areas


def _swept(seeds: Seeds) -> alt.TopLevelMixin:
    panels, words = [], []
    for name, tables in seeds.items():
        planes = tables[0].sel(plane=~tables[0]["random"])
        predicted = planes["predicted"].mean("place").values  # over the places that predict
        with np.errstate(divide="ignore", invalid="ignore"):
            clear = np.abs(predicted) / np.sqrt(planes["predicted_variance"].mean("place").values)
        chosen = np.argsort(-np.nan_to_num(clear), kind="stable")[:2]
        frames = []
        time = planes["time"].values[::2]
        since = time - time[0]
        measured_end = planes["swept"].values[::2][-1]
        for i in chosen:
            plane = str(planes["plane"].values[i])
            measured = planes["swept"].values[::2, i]
            for by, values in ((MEASURED, measured), (PREDICTED, predicted[i] * since)):
                frames.append(
                    pd.DataFrame({"epoch": time, "swept": values, "plane": plane, "by": by})
                )
        i = chosen[0]
        words.append(
            f"{wording.number(measured_end[i])} and {wording.number(predicted[i] * since[-1])} "
            f"({name})"
        )
        panels.append(_swept_panel(pd.concat(frames), name))
    chart = alt.concat(*panels, columns=2).resolve_scale(color="independent")
    caption = (
        "Area swept since the transient, seen from the mean position, in the two planes of each "
        "arm (first seed) where the linear theory (dashed) expects the clearest current. A current "
        "grows steadily; drifts make large swings that lead nowhere. At the end, in weight², swept "
        f"and expected in the clearest plane: {', '.join(words)}."
    )
    return dressed(chart, "Area swept, epoch by epoch", caption)


def _swept_panel(frame: pd.DataFrame, name: str) -> alt.Chart:
    unit, said = _scale(frame["swept"].values)
    frame["swept"] /= unit
    dash = alt.StrokeDash(
        "by:N",
        scale=alt.Scale(domain=[MEASURED, PREDICTED], range=[[1, 0], [5, 4]]),
        legend=parts.legend(None, below=True, lines=True),
    )
    chart = (
        alt.Chart(data.table(frame))
        .mark_line()
        .encode(
            x=alt.X("epoch:Q", axis=_axis("epoch", ",d")),
            y=alt.Y("swept:Q", axis=_axis(f"area swept ({said}weight²)")),
            color=alt.Color("plane:N", legend=parts.legend("plane")),
            strokeDash=dash,
        )
    )
    return parts.panel(chart, name)
