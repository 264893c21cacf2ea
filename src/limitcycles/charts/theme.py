"""One look for all charts: an Altair theme that is safe for colour-blind readers.

Marks name a style ("paper", "threshold", "faint", ...) instead of a colour, so that a page with a
dark background can swap all colours at once (`dark`).
"""

from typing import Any

import altair as alt

NAME = "limitcycles"

# Okabe & Ito (2008), without black (kept for the paper's values) and yellow (too pale on white).
CATEGORY = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_CATEGORY_DARK = ["#56B4E9", "#E69F00", "#2BC199", "#E59CC4", "#F0E442", "#F2793A"]
# Snapshots have an order: the lightness is monotone, so it survives any colour blindness.
ORDINAL = ["#F2BE4A", "#E58A1F", "#C5407E", "#33108C"]
_ORDINAL_DARK = ["#FBE9A0", "#F7C23D", "#F0776A", "#8472E0"]

_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


def _colours(
    ink: str, soft: str, line: str, background: str, category: list[str], ordinal: list[str]
) -> dict[str, Any]:
    """Everything of the theme that depends on the background."""
    return {
        "background": background,
        "axis": {
            "labelColor": soft,
            "titleColor": ink,
            "gridColor": line,
            "domainColor": soft,
            "tickColor": soft,
        },
        "legend": {"labelColor": ink, "titleColor": ink},
        "header": {"labelColor": ink, "titleColor": ink},
        "title": {"color": ink, "subtitleColor": soft},
        "view": {"stroke": line},
        "range": {"category": category, "ordinal": ordinal},
        "style": {
            "paper": {"color": ink},
            "paper-label": {"color": ink},
            "threshold": {"color": soft},
            "threshold-label": {"color": soft},
        },
    }


def theme() -> dict[str, Any]:
    """Vega-Lite config of all charts, for a light background."""
    config = _colours("#1b1f24", "#4d5560", "#e3e6ea", "#ffffff", CATEGORY, ORDINAL)
    shape: dict[str, Any] = {
        "font": _FONT,
        "axis": {
            "labelFontSize": 12,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelLimit": 220,
            "labelOverlap": True,
            "tickSize": 4,
        },
        "legend": {
            "orient": "top",
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 0,
            "titleLimit": 0,
            "symbolSize": 110,
            "symbolStrokeWidth": 2,
            "columnPadding": 14,
        },
        "header": {"labelFontSize": 13, "titleFontSize": 13},
        "title": {
            "anchor": "start",
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleFontSize": 12,
            "offset": 12,
        },
        "concat": {"spacing": 28},
        "line": {"strokeWidth": 2, "strokeCap": "round"},
        "style": {
            "paper": {"strokeWidth": 1.5, "strokeDash": [7, 4]},
            "paper-label": {"fontSize": 12, "fontWeight": 600},
            "threshold": {"strokeWidth": 1.2, "strokeDash": [2, 3]},
            "threshold-label": {"fontSize": 11},
            "faint": {"strokeWidth": 1},
        },
    }
    return _merged(config, shape)


def dark() -> dict[str, Any]:
    """The part of the config that a dark page lays over `theme`."""
    return _colours("#eceff3", "#a9b2bd", "#323942", "transparent", _CATEGORY_DARK, _ORDINAL_DARK)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(first.get(key), dict)
        result[key] = _merged(first[key], value) if both else value
    return result


@alt.theme.register(NAME, enable=False)
def _altair_theme() -> alt.theme.ThemeConfig:
    return {"config": theme()}


def dressed(chart: alt.TopLevelMixin, title: str, caption: str) -> alt.TopLevelMixin:
    """Give a finished chart its title, its caption and the theme.

    The caption becomes the chart's `description`: the text for readers who do not see the chart,
    and what the report page prints below it.
    """
    return chart.properties(title=title, description=caption, config=alt.Config.from_dict(theme()))
