"""Chart of the calibration of the detector of currents, on processes whose answer is known."""

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles import wording
from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed

# What the rule of the ledger asks for, in percent.
FALSE_ALARMS, ERROR, POWER = 5.0, 1.0, 90.0
KINDS = {
    "gated": "of runs that pass the gate",
    "ungated": "of all runs, without the gate",
    "confirmed": "of runs that pass, outside surrogates too",
}
MEASURED, PREDICTED, LONG = "measured", "predicted", "measured, all runs"


def chart(rates: xr.Dataset, power: xr.Dataset) -> alt.TopLevelMixin:
    """False alarms of each process without a current, and power on the driven one.

    `rates` and `power` are the parts of the study `calibration`.
    """
    nulls = rates.sel(process=~rates["current"].values)
    driven = rates.sel(process=rates["current"].values).isel(process=0)
    both = alt.hconcat(_alarms(nulls), _power(power, driven)).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )
    return dressed(both, "Calibration of the detector of currents", _caption(nulls, driven, power))


def _spans(part: xr.Dataset, kind: str) -> dict[str, np.ndarray]:
    """A share and its interval in percent; columns share, low, high."""
    ends = {"share": "", "low": "_low", "high": "_high"}
    return {name: 100 * np.atleast_1d(part[f"{kind}{end}"].values) for name, end in ends.items()}


def _alarms(nulls: xr.Dataset) -> alt.LayerChart:
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
    scale = parts.zero_scale([*frame["high"], FALSE_ALARMS + ERROR])
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
    ends = pd.DataFrame([{"from": FALSE_ALARMS - ERROR, "to": FALSE_ALARMS + ERROR}])
    band = (
        alt.Chart(data.table(ends))
        .mark_rect(opacity=0.12, color="#7f7f7f")
        .encode(x=alt.X("from:Q", title=title, scale=scale), x2="to:Q")
    )
    line = parts.vertical_line(FALSE_ALARMS, "asked for: 5 ± 1 %", "threshold", y=-8)
    return alt.layer(band, spans, points, line).properties(
        width=parts.PANEL_WIDTH - 40,
        height=parts.PANEL_HEIGHT,
        title=alt.Title("False alarms: none of these has a current", fontSize=13, offset=22),
    )


def _power(power: xr.Dataset, driven: xr.Dataset) -> alt.LayerChart:
    few = pd.DataFrame({"strength": power["strength"].values, "of": MEASURED})
    few = few.assign(**_spans(power, "found"))
    many = pd.DataFrame({"strength": [driven.attrs["strength"]], "of": LONG})
    measured = pd.concat([few, many.assign(**_spans(driven, "found"))])
    line = pd.DataFrame(
        {
            "strength": power["strength"].values,
            "share": 100 * power["predicted"].values,
            "of": PREDICTED,
        }
    )
    kinds = [PREDICTED, MEASURED, LONG]
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
    prediction = alt.Chart(data.table(line)).mark_line(strokeDash=[6, 4], interpolate="monotone")
    prediction = prediction.encode(x, y, colour)
    base = alt.Chart(data.table(measured)).encode(x=x, color=colour)
    spans = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("low:Q", title=None, scale=alt.Scale(domain=[0, 103])), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=y,
        shape=alt.Shape(
            "of:N", scale=alt.Scale(domain=kinds, range=["stroke", "circle", "diamond"])
        ),
        tooltip=[
            alt.Tooltip("strength:Q", format=".3~g"),
            "of:N",
            *_percents("share", "low", "high"),
        ],
    )
    asked = parts.horizontal_line(POWER, f"asked for: at least {POWER:g} %", "threshold")
    return alt.layer(prediction, spans, points, asked).properties(
        width=parts.PANEL_WIDTH - 60,
        height=parts.PANEL_HEIGHT,
        title=alt.Title("Power on a driven process", fontSize=13, offset=22),
    )


def _percents(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", title=f"{name} (%)", format=".2f") for name in names]


def _said(part: xr.Dataset, kind: str) -> str:
    share, low, high = (float(v[0]) for v in _spans(part, kind).values())
    if np.isnan(share):
        return "no run passes the gate"
    return f"{share:.2f} % [{low:.2f}, {high:.2f}]"


def _caption(nulls: xr.Dataset, driven: xr.Dataset, power: xr.Dataset) -> str:
    alarms = "; ".join(
        f"{name} {_said(nulls.sel(process=name), 'gated')}" for name in nulls["process"].values
    )
    passing = [nulls.sel(process=name) for name in nulls["process"].values]
    walk = min(passing, key=lambda part: float(part["stationary"]))
    return (
        f"{wording.count(nulls.attrs['runs'])} runs of {wording.count(nulls.attrs['steps'])} steps "
        "of each process, with exact 95 % intervals. Left: false alarms of processes without a "
        f"current, of runs that pass the gate: {alarms}. The gate is needed: of the runs of "
        f"“{walk['process'].item()}” {100 * float(walk['stationary']):.2g} % pass it, and without "
        f"it {100 * float(walk['ungated']):.2g} % of them would show a current. To ask for a place "
        "outside the envelope of surrogates, as the claim does, only takes away. Right: the driven "
        f"process of strength {driven.attrs['strength']:g}, whose area rate lies "
        f"{wording.number(float(power['deviations'].interp(strength=driven.attrs['strength'])))} "
        f"deviations from 0, is found in {_said(driven, 'found')} of the runs; each other strength "
        f"has {wording.count(power.attrs['runs'])} runs. The dashed line is the power of the "
        "interval in closed form, without the gate."
    )
