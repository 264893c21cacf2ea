"""Numbers as a reader meets them: in captions, tooltips and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from limitcycles.statistics.intervals import GEOMETRIC, MEAN

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Write a measured value with `digits` significant digits, thousands in full.

    Very large and small magnitudes become powers of ten (``2.11·10⁻³``); None and NaN become a
    dash.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power < 5:
        return f"{sign}{size:,.{max(digits - 1 - power, 0)}f}"
    return f"{sign}{mantissa}·10{str(power).translate(_SUPERSCRIPT)}"


def count(value: float | None) -> str:
    """Write a whole number with thousands separated (``13,338``); None and NaN become a dash."""
    return MISSING if value is None or math.isnan(value) else f"{round(value):,}"


def given(value: float | None) -> str:
    """Write a number of the paper or of a rule as it was given: ``1.8``, ``3·10⁻⁴``."""
    text = number(value, digits=6)
    digits, power, rest = text.partition("·")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits + power + rest


def with_unit(text: str, unit: str | None) -> str:
    """Add a unit; a missing value, and a pure number ("1"), have none."""
    return text if text == MISSING or unit in (None, "", "1") else f"{text} {unit}"


def interval(bounds: Sequence[float] | None) -> str:
    """Write ``[low, high]``, or nothing where there is no interval."""
    if bounds is None:
        return ""
    low, high = bounds
    return f"[{number(low)}, {number(high)}]"


def estimate(statistic: Mapping[str, Any] | None) -> str:
    """Write a statistic: ``1.60 % [1.40, 1.90], geometric mean of 3``; see `over`."""
    if statistic is None:
        return MISSING
    text = with_unit(number(statistic["value"]), statistic["unit"])
    if bounds := interval(statistic["interval"]):
        text += f" {bounds}"
    return f"{text}, {over(statistic)}"


def over(statistic: Mapping[str, Any]) -> str:
    """Over how many values a statistic is, and which mean of them: ``mean of 3``, or ``n = 5``."""
    if statistic["kind"] in (MEAN, GEOMETRIC) and statistic["n"] > 1:
        return f"{statistic['kind']} of {statistic['n']}"
    return f"n = {statistic['n']}"


def percent(level: float) -> str:
    """Write a confidence level: ``95 %``."""
    return f"{100 * level:g} %"


def listed(words: Sequence[str]) -> str:
    """The words with commas, or "none"."""
    return ", ".join(words) or "none"
