"""Chart of the calibration of the detector of currents, on processes whose answer is known."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence
from limitcycles.statistics.intervals import exact_binomial

NAMES = ("calibration",)
KINDS = {
    "gated": "interval, of runs that pass the gate",
    "ungated": "interval, of all runs, without the gate",
    "confirmed": "interval and surrogates, of runs that pass",
}
PREDICTED, MEASURED = "predicted, interval alone", "interval"
LONG, RULE = "interval, more runs", "interval and surrogates, more runs (the rule)"


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Chart of the instrument, against what the rule of the claim asks for.

    `result` is that of a claim that names the instrument, or its entry in the ledger.
    """
    asked = (100 * data.rule_parameter(result, key) for key in ("false_alarms", "error", "power"))
    parts_of = evidence.instruments["calibration"]
    return {"calibration": _chart(parts_of["rates"], parts_of["power"], *asked)}


def _chart(
    rates: xr.Dataset, power: xr.Dataset, false_alarms: float, error: float, asked: float
) -> alt.TopLevelMixin:
    """False alarms of each process without a current, and power on the driven one.

    `rates` and `power` are the parts of the measurement. The rule asks for a share of
    `false_alarms` with at most that `error`, and for a power of at least `asked` (percent).
    """
    nulls = rates.sel(process=~rates["current"].values)
    driven = rates.sel(process=rates["current"].values).isel(process=0)
    both = alt.hconcat(
        _alarms(nulls, false_alarms, error), _power(power, driven, asked)
    ).resolve_scale(color="independent", shape="independent", strokeDash="independent")
    caption = _caption(nulls, driven, asked)
    return dressed(both, "Calibration of the detector of currents", caption)


def _confirmed(driven: xr.Dataset) -> dict[str, float]:
    """Percent of all runs that the rule's detector finds, with its exact 95 % interval.

    That detector asks for the gate, an interval without 0, and a place outside the surrogates;
    `confirmed` is stored as a share of the runs that pass the gate.
    """
    runs, passing = int(driven.attrs["runs"]), float(driven["stationary"])
    of_passing = float(driven["confirmed"]) if passing > 0 else 0.0
    hits = round(of_passing * passing * runs)
    low, high = exact_binomial(hits, runs, driven.attrs["level"])
    return {"share": 100 * hits / runs, "low": 100 * low, "high": 100 * high}


def _spans(part: xr.Dataset, kind: str) -> dict[str, np.ndarray]:
    """A share and its interval in percent; columns share, low, high."""
    ends = {"share": "", "low": "_low", "high": "_high"}
    return {name: 100 * np.atleast_1d(part[f"{kind}{end}"].values) for name, end in ends.items()}


def _alarms(nulls: xr.Dataset, asked: float, error: float) -> alt.LayerChart:
    frames = [
        pd.DataFrame({"process": nulls["process"].values, "of": label, **_spans(nulls, kind)})
        for kind, label in KINDS.items()
    ]
    frame = pd.concat(frames).dropna()
    labels = list(KINDS.values())
    colour = alt.Color(
        "of:N", scale=alt.Scale(domain=labels), legend=alt.Legend(title=None, columns=1)
    )
    shape = alt.Shape("of:N", scale=alt.Scale(domain=labels, range=["circle", "square", "diamond"]))
    title = "runs in which a current is found (%)"
    scale = parts.zero_scale([*frame["high"], asked + error])
    base = alt.Chart(data.table(frame)).encode(
        y=alt.Y("process:N", title=None, sort=list(nulls["process"].values)),
        yOffset=alt.YOffset("of:N", sort=labels),
        color=colour,
    )
    spans = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=alt.X("share:Q", title=title, scale=scale),
        shape=shape,
        tooltip=["process:N", "of:N", *_percents("share", "low", "high")],
    )
    ends = pd.DataFrame([{"from": asked - error, "to": asked + error}])
    band = (
        alt.Chart(data.table(ends))
        .mark_rect(opacity=0.12, color="#7f7f7f")
        .encode(x=alt.X("from:Q", title=title, scale=scale), x2="to:Q")
    )
    line = parts.vertical_line(asked, f"asked for: {asked:g} ± {error:g} %", "threshold", y=-8)
    return alt.layer(band, spans, points, line).properties(
        width=parts.PANEL_WIDTH - 40,
        height=parts.PANEL_HEIGHT,
        title=alt.Title("False alarms: none of these has a current", fontSize=13, offset=22),
    )


def _power(power: xr.Dataset, driven: xr.Dataset, asked: float) -> alt.LayerChart:
    few = pd.DataFrame({"strength": power["strength"].values, "of": MEASURED})
    few = few.assign(**_spans(power, "found"))
    many = pd.DataFrame({"strength": [driven.attrs["strength"]], "of": LONG})
    rule = many.assign(of=RULE, **_confirmed(driven))
    measured = pd.concat([few, many.assign(**_spans(driven, "found")), rule])
    closed = pd.DataFrame(
        {
            "strength": power["strength"].values,
            "share": 100 * power["predicted"].values,
            "of": PREDICTED,
        }
    )
    kinds = [PREDICTED, MEASURED, LONG, RULE]
    colour = alt.Color(
        "of:N", scale=alt.Scale(domain=kinds), legend=alt.Legend(title=None, columns=1)
    )
    x = alt.X(
        "strength:Q",
        title="strength (radians turned in a relaxation time)",
        scale=parts.zero_scale([*power["strength"].values]),
    )
    y = alt.Y(
        "share:Q", title="runs in which a current is found (%)", scale=alt.Scale(domain=[0, 103])
    )
    prediction = alt.Chart(data.table(closed)).mark_line(strokeDash=[6, 4], interpolate="monotone")
    prediction = prediction.encode(x, y, colour)
    shape = alt.Shape(
        "of:N", scale=alt.Scale(domain=kinds, range=["stroke", "circle", "square", "diamond"])
    )
    tooltip = [
        alt.Tooltip("strength:Q", format=".3~g"),
        "of:N",
        *_percents("share", "low", "high"),
    ]
    layers = []
    for kind, offset in ((MEASURED, 0), (LONG, -9), (RULE, 9)):  # side by side
        base = alt.Chart(data.table(measured[measured["of"] == kind])).encode(x=x, color=colour)
        layers += [
            base.mark_rule(strokeWidth=2, xOffset=offset).encode(
                y=alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, 103])), y2="high:Q"
            ),
            base.mark_point(filled=True, size=60, opacity=1, xOffset=offset).encode(
                y=y, shape=shape, tooltip=tooltip
            ),
        ]
    line = parts.horizontal_line(asked, f"asked for: at least {asked:g} %", "threshold")
    return alt.layer(prediction, *layers, line).properties(
        width=parts.PANEL_WIDTH - 60,
        height=parts.PANEL_HEIGHT,
        title=alt.Title("Power on a driven process", fontSize=13, offset=22),
    )


def _percents(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", title=f"{name} (%)", format=".2f") for name in names]


def _caption(nulls: xr.Dataset, driven: xr.Dataset, asked: float) -> str:
    walk = min((nulls.isel(process=i) for i in range(nulls.sizes["process"])), key=_passing)
    found = float(_spans(driven, "found")["share"][0])
    return (
        f"{wording.count(nulls.attrs['runs'])} runs of {wording.count(nulls.attrs['steps'])} steps "
        f"of each process, exact {wording.percent(nulls.attrs['level'])} intervals. Left: false "
        "alarms. The gate is needed: of the "
        f"runs of “{walk['process'].item()}” {100 * _passing(walk):.2g} % pass it, and without it "
        f"{100 * float(walk['ungated']):.2g} % show a current. Right: runs in which the current of "
        f"strength {driven.attrs['strength']:g} is found: {found:.1f} % by the interval, "
        f"{_confirmed(driven)['share']:.1f} % if it has to lie outside the surrogates too. A plane "
        f"of a network needs both, so the second is what the {asked:g} % of the rule mean."
    )


def _passing(part: xr.Dataset) -> float:
    return float(part["stationary"])
