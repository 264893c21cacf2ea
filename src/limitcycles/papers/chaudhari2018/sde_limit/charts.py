"""Charts of the convergence of SGD to its stochastic differential equation (Lemma 2)."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from limitcycles.charts import data, parts
from limitcycles.charts.theme import dressed
from limitcycles.judging import wording
from limitcycles.judging.evidence import Evidence

NAMES = ("weak-error", "slopes", "third-cumulant")
CONTROLS = {"equation": "Euler steps, same D", "doubled": "Euler steps, D doubled (control)"}


def draw(result: dict[str, Any], evidence: Evidence) -> dict[str, alt.TopLevelMixin]:
    """Charts of the claim, from its measurement."""
    return {
        "weak-error": _errors(evidence.parts["errors"], evidence.parts["controls"]),
        "slopes": _slopes(result, evidence.parts),
        "third-cumulant": _cumulant(evidence.parts["cumulant"]),
    }


def _errors(errors: xr.Dataset, controls: xr.Dataset) -> alt.TopLevelMixin:
    sizes = [np.abs(e["error"]) for e in (errors, controls)]
    low, high = parts.log_range([float(v) for s in sizes for v in (s.min(), s.max())])
    rates = errors["rate"].values
    chosen = parts.legend_choice("function")
    order = list(errors["function"].values)

    def lines(frame: pd.DataFrame, dash: list[int]) -> alt.Chart:
        x_low, x_high = parts.log_range(rates)
        axis = alt.Axis(title="learning rate η", values=list(rates), format="~g")
        return (
            alt.Chart(data.table(frame.assign(size=frame["error"].abs())))
            .mark_line(strokeDash=dash, point=alt.OverlayMarkDef(filled=True, size=40))
            .encode(
                x=alt.X("rate:Q", scale=parts.log_scale(x_low, x_high), axis=axis),
                y=parts.log_y("size", "weak error", low, high),
                color=alt.Color("function:N", sort=order, legend=parts.legend("test function")),
                shape=alt.Shape("function:N", sort=order, legend=None),
                opacity=parts.fading(chosen),
                tooltip=parts.tooltip("function:N", "rate:Q", error=".4g"),
            )
        )

    panels = []
    for name in errors["system"].values:
        frame = errors["error"].sel(system=name).to_dataframe().reset_index()
        panels.append(parts.panel(lines(frame, [1, 0]), f"SGD: {name}"))
    both = [
        lines(controls["error"].sel(against=against).to_dataframe().reset_index(), dash)
        for against, dash in (("equation", [1, 0]), ("doubled", [6, 4]))
    ]
    panels.append(parts.panel(alt.layer(*both), "Euler steps; dashed: D doubled (control)"))
    chart = parts.panels(panels, chosen)
    caption = (
        "Expectation of each test function after SGD minus that of the equation, η/b held fixed "
        f"at {2 * errors.attrs['temperature']:g} (b = "
        f"{', '.join(str(b) for b in errors['batch'].values)}), computed without sampling noise. "
        "An error of weak order 1 falls along a line of slope 1. Lines that flatten to the left "
        "do not converge: there a third or fourth cumulant of the gradients is left over, or "
        "(dashed) the equation is a wrong one."
    )
    return dressed(chart, "Weak error of SGD against its equation", caption)


def _frame(part: xr.Dataset, prefix: str, reading: str) -> pd.DataFrame:
    names = {f"{prefix}{name}": name for name in ("slope", "low", "high")}
    frame = part[list(names)].rename(names).to_dataframe().reset_index()
    return frame.assign(reading=reading)


def _slopes(result: dict[str, Any], measured: dict[str, xr.Dataset]) -> alt.TopLevelMixin:
    errors, usual, controls = measured["errors"], measured["usual"], measured["controls"]
    fixed, small = "η/b fixed (the rule)", f"b = {usual.attrs['batch']} fixed"
    control = _frame(controls, "", fixed).rename(columns={"against": "system"})
    control["system"] = control["system"].map(CONTROLS)
    frame = pd.concat([_frame(errors, "", fixed), _frame(usual, "", small), control])
    functions = [str(f) for f in errors["function"].values]
    systems = [*errors["system"].values, *CONTROLS.values()]
    frame["row"] = frame["function"].map({f: i for i, f in enumerate(functions)}) + np.where(
        frame["reading"] == small, 0.35, 0
    )
    bound = data.rule_parameter(result, "slope")
    ends = [float(np.nanmin(frame["low"])) - 0.1, float(np.nanmax(frame["high"])) + 0.1]
    ends = [max(ends[0], -1.5), min(ends[1], 2.5)]
    chosen = parts.legend_choice("reading")
    charts = []
    for system in systems:
        base = alt.Chart(data.table(frame[frame["system"] == system])).encode(
            y=alt.Y(
                "row:Q",
                scale=alt.Scale(domain=[len(functions) - 0.4, -0.6], nice=False),
                axis=alt.Axis(
                    title=None,
                    values=list(range(len(functions))),
                    labelExpr=f"{functions!r}[datum.value]",
                    grid=False,
                ),
            ),
            color=alt.Color("reading:N", sort=[fixed, small], legend=parts.legend("η falls with")),
            opacity=parts.fading(chosen),
        )
        x = alt.X("slope:Q", title="slope", scale=alt.Scale(domain=ends, nice=False, clamp=True))
        points = base.mark_point(filled=True, size=55).encode(
            x=x,
            shape=alt.Shape("reading:N", sort=[fixed, small], legend=None),
            tooltip=["function:N", "reading:N", "slope:Q", "low:Q", "high:Q"],
        )
        bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q")
        line = parts.vertical_line(bound, f"rule: above {bound:g}", "threshold", y=-6)
        charts.append(parts.panel(alt.layer(line, bars, points), system).properties(height=170))
    chart = parts.panels(charts, chosen)
    worst = result["statistic"]
    agreeing = [a["name"] for a in result["arms"] if a["agrees"]]
    caption = (
        "Slope of log weak error against log η for each test function, with "
        f"{wording.percent(worst['level'])} intervals (cut where the panel ends). A system agrees "
        f"if all its intervals with η/b fixed lie right of {wording.given(bound)}: "
        f"{', '.join(agreeing) or 'none does'}. Lowest: {wording.estimate(worst)} "
        f"({worst['name']}). With b fixed the noise vanishes with η."
    )
    return dressed(chart, "Order of convergence", caption)


def _cumulant(found: xr.Dataset) -> alt.TopLevelMixin:
    frame = found[["sgd"]].to_dataframe().reset_index().assign(of="SGD, exact")
    sampled = {
        "rate": frame["rate"].min(),
        "sgd": float(found["sampled"]),
        "half": 1.96 * float(found["standard_error"]),
        "of": "SGD, sampled",
    }
    x_low, x_high = parts.log_range(found["rate"].values)
    values = [*frame["sgd"], sampled["sgd"] + sampled["half"], 0.0, float(found["limit"])]
    y = alt.Y("sgd:Q", title="third cumulant of z", scale=parts.zero_scale(values))
    axis = alt.Axis(title="learning rate η (η/b fixed)", values=list(frame["rate"]), format="~g")
    x = alt.X("rate:Q", scale=parts.log_scale(x_low, x_high), axis=axis)
    order = ["SGD, exact", "SGD, sampled"]
    look = {
        "color": alt.Color("of:N", sort=order, legend=parts.legend(None)),
        "shape": alt.Shape("of:N", sort=order, legend=None),
    }
    line = (
        alt.Chart(data.table(frame))
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=50))
        .encode(x=x, y=y, **look)
    )
    one = pd.DataFrame([sampled])
    one = one.assign(low=one["sgd"] - one["half"], high=one["sgd"] + one["half"])
    point = alt.Chart(data.table(one)).encode(x=x, color=look["color"])
    marks = point.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
    marks += point.mark_point(size=70, filled=False).encode(y=y, shape=look["shape"])
    limit = parts.horizontal_line(float(found["limit"]), "as η → 0", "threshold")
    equation = parts.horizontal_line(float(found["equation"]), "the equation: 0")
    chart = parts.wide(260, equation, limit, line, marks)
    caption = (
        "Third cumulant of the weights of the system with skewed gradients, in units of their "
        "stationary standard deviation cubed. The equation has Gaussian noise and none. With η/b "
        "held fixed that of SGD does not vanish as η falls: it goes to "
        f"{wording.number(float(found['limit']))}, and ends at b = 1 with "
        f"{wording.number(float(found['sgd'][0]))}; {wording.number(sampled['sgd'])} ± "
        f"{wording.number(sampled['half'])} (95 %) from sampled paths."
    )
    return dressed(chart, "What the equation leaves out", caption)
