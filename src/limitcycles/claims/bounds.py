"""Statistics of rules that bound every one of several numbers: the largest, or the smallest."""

from __future__ import annotations

from collections.abc import Sequence


def largest(name: str, values: Sequence[float], unit: str = "1") -> dict:
    """The largest of some numbers, one a system; it has no interval."""
    return _extreme(max, f"largest {name}", values, unit)


def smallest(name: str, values: Sequence[float], unit: str = "1") -> dict:
    """The smallest of some numbers, one a system; it has no interval."""
    return _extreme(min, f"smallest {name}", values, unit)


def single(name: str, value: float, unit: str = "1") -> dict:
    """One number of one system."""
    return _extreme(max, name, [value], unit)


def _extreme(of, name: str, values: Sequence[float], unit: str) -> dict:
    values = [float(v) for v in values]
    return {
        "name": name,
        "value": of(values),
        "interval": None,
        "level": None,
        "unit": unit,
        "n": len(values),
        "paper": None,
        "values": values,
    }


def listed(words: Sequence[str]) -> str:
    """The words with commas, or "none"."""
    return ", ".join(words) or "none"
