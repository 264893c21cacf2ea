"""Pieces that all charts share: axes, reference lines, legends, panels."""

import math
from collections.abc import Iterable, Mapping, Sequence

import altair as alt

WIDE = 680
PANEL_WIDTH = 380
PANEL_HEIGHT = 270

# "10⁻³" for a decade: Vega's number formats have no superscripts.
_POWER = "abs(round(log(datum.value) / LN10))"
_DIGITS = "'⁰¹²³⁴⁵⁶⁷⁸⁹'"
_DECADE = (
    f"(datum.value < 0.5 ? '10⁻' : '10') + ({_POWER} > 9 ? slice({_DIGITS}, floor({_POWER} / 10), "
    f"floor({_POWER} / 10) + 1) : '') + slice({_DIGITS}, {_POWER} % 10, {_POWER} % 10 + 1)"
)


def decades(low: float, high: float, most: int = 7) -> list[float]:
    """Powers of ten within [low, high], every k-th so that there are at most `most`."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1) if power % step == 0]


def log_axis(title: str, low: float, high: float, plain: bool = False) -> alt.Axis:
    """Axis of a log scale: decades where the range has two or more, else 1, 2 and 5.

    `plain` writes 0.01 instead of 10⁻².
    """
    ticks = decades(low, high)
    if len(ticks) < 2 or (plain and high / low < 1e3):
        steps = [m * 10.0**p for p in range(-20, 21) for m in (1, 2, 5)]
        ticks = [step for step in steps if low <= step <= high]
        return alt.Axis(title=title, values=ticks, format="~g")
    if plain:
        return alt.Axis(title=title, values=ticks, format="~r")
    return alt.Axis(title=title, values=ticks, labelExpr=_DECADE)


def log_x(field: str, title: str, low: float, high: float, plain: bool = False) -> alt.X:
    """The numbers of `field` from left to right on a log scale; see `log_axis`."""
    axis = log_axis(title, low, high, plain)
    return alt.X(f"{field}:Q", scale=log_scale(low, high), axis=axis)


def log_y(field: str, title: str, low: float, high: float, plain: bool = False) -> alt.Y:
    """The numbers of `field` from the bottom to the top on a log scale; see `log_axis`."""
    axis = log_axis(title, low, high, plain)
    return alt.Y(f"{field}:Q", scale=log_scale(low, high), axis=axis)


def zero_scale(values: Sequence[float]) -> alt.Scale:
    """Linear scale from zero that holds all `values`, with a little room at the ends."""
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.04 * (high - low)
    return alt.Scale(domain=[low - room if low < 0 else 0, high + room], nice=False)


def log_range(values: Iterable[float]) -> tuple[float, float]:
    """Ends of a log axis that has room for all positive ones of `values`."""
    positive = [value for value in values if value > 0]
    return min(positive) / 1.6, max(positive) * 1.6


def log_scale(low: float, high: float) -> alt.Scale:
    """Log scale from `low` to `high`, not widened to round numbers."""
    return alt.Scale(type="log", domain=[low, high], nice=False)


def vertical_line(
    value: float, label: str, style: str = "paper", y: float = 12, align: str = "left"
) -> alt.LayerChart:
    """A labelled vertical rule; `style` is "paper" or "threshold", `y` the label's height (px)."""
    rule = _single().mark_rule(style=style).encode(x=alt.datum(value))
    text = (
        _single()
        .mark_text(style=f"{style}-label", align=align, dx=5 if align == "left" else -5, text=label)
        .encode(x=alt.datum(value), y=alt.value(y))
    )
    return rule + text


def horizontal_line(
    value: float, label: str, style: str = "paper", below: bool = False
) -> alt.LayerChart:
    """A horizontal rule over the full width with its label above (or `below`) the left end."""
    rule = _single().mark_rule(style=style).encode(y=alt.datum(value))
    text = (
        _single()
        .mark_text(style=f"{style}-label", align="left", dy=9 if below else -8, text=label)
        .encode(x=alt.value(6), y=alt.datum(value))
    )
    return rule + text


def legend_choice(field: str) -> alt.Parameter:
    """A click on the legend keeps one entry and fades the others; shift-click adds entries."""
    return alt.selection_point(name="chosen", fields=[field], bind="legend")


def fading(choice: alt.Parameter, shown: float = 1.0) -> alt.When:
    """Opacity of what a `legend_choice` keeps and fades."""
    return alt.when(choice).then(alt.value(shown)).otherwise(alt.value(0.07))


def legend(
    title: str | None,
    lines: bool = False,
    values: Sequence[str] | None = None,
    below: bool = False,
) -> alt.Legend:
    """A legend whose symbols keep their full colour where marks are faint.

    `lines` draws lines instead of circles; `values` are the entries, if not all. `below` puts it
    under the chart: a second legend beside a long one would make the chart wider.
    """
    shape = {"symbolType": "stroke", "symbolSize": 500} if lines else {}
    if values is not None:
        shape["values"] = list(values)
    if below:
        shape["orient"] = "bottom"
    return alt.Legend(title=title, symbolOpacity=1, **shape)


def tooltip(*fields: str, **formats: str) -> list[str | alt.Tooltip]:
    """What a mark tells: `fields` with their type, then numbers by name with their format."""
    return [*fields, *(alt.Tooltip(f"{name}:Q", format=how) for name, how in formats.items())]


def traces(
    base: alt.Chart,
    kinds: Mapping[str, tuple[list[int], str]],
    choice: alt.Parameter,
    size: float,
    tips: Sequence[str | alt.Tooltip],
) -> list[alt.Chart]:
    """Lines and points of `base`, told apart by its column `by`: the dash and shape of each."""
    names, below = list(kinds), legend(None, below=True)
    dashes = alt.Scale(domain=names, range=[dash for dash, _ in kinds.values()])
    shapes = alt.Scale(domain=names, range=[shape for _, shape in kinds.values()])
    lines = base.mark_line(strokeWidth=1.5).encode(
        strokeDash=alt.StrokeDash("by:N", scale=dashes, legend=below)
    )
    points = base.mark_point(filled=True, size=size).encode(
        shape=alt.Shape("by:N", scale=shapes, legend=below), tooltip=list(tips)
    )
    return [lines, points.add_params(choice)]


def wide(height: float, *layers: alt.TopLevelMixin) -> alt.LayerChart:
    """Layers over the full width of a page; `height` in px."""
    return alt.layer(*layers).properties(width=WIDE, height=height)


def panel(chart: alt.TopLevelMixin, title: str) -> alt.TopLevelMixin:
    """Give a chart the size and the small title of one panel among several."""
    return chart.properties(
        title=alt.Title(title, fontSize=13), width=PANEL_WIDTH, height=PANEL_HEIGHT
    )


def panels(charts: Sequence[alt.TopLevelMixin], choice: alt.Parameter) -> alt.TopLevelMixin:
    """Charts in rows of two with shared colours and one `legend_choice` for all."""
    first, *others = charts
    together = alt.concat(first.add_params(choice), *others, columns=2)
    return together.resolve_scale(color="shared", strokeDash="shared", shape="shared")


def _single() -> alt.Chart:
    """A chart with one row, for marks at fixed places."""
    return alt.Chart(alt.InlineData(values=[{}]))


def small_panels(layers: alt.LayerChart, names: Sequence[str], title: str) -> alt.FacetChart:
    """A small panel for each of `names`, on the same axes; all layers have the column `arm`."""
    header = alt.Header(labelAnchor="start", labelFontSize=11, labelPadding=2)
    facet = alt.Facet("arm:N", sort=list(names), title=None, header=header)
    grid = layers.properties(width=172, height=100).facet(
        facet, columns=4, spacing={"row": 14, "column": 18}
    )
    return grid.properties(title=alt.Title(title, fontSize=13))
