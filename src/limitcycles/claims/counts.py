"""Statistics of the theory that are no means over seeds: counted shares, computed numbers."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import betaincinv


def counted(name: str, hits: int, n: int, *, level: float, paper: float | None = None) -> dict:
    """A share of n independent trials in percent, with its Clopper–Pearson interval."""
    tail = (1 - level) / 2
    low = betaincinv(hits, n - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, n - hits, 1 - tail) if hits < n else 1.0
    return {
        "name": name,
        "value": 100 * hits / n,
        "interval": [100 * float(low), 100 * float(high)],
        "level": level,
        "unit": "%",
        "n": int(n),
        "paper": paper,
        "values": [],
    }


def number(
    name: str,
    value: float,
    *,
    unit: str,
    level: float,
    n: int = 1,
    interval: Sequence[float] | None = None,
    values: Sequence[float] = (),
) -> dict:
    """A number that was computed rather than averaged; `n` says over how many things (grids, …)."""
    return {
        "name": name,
        "value": float(value),
        "interval": [float(end) for end in interval] if interval is not None else None,
        "level": level,
        "unit": unit,
        "n": int(n),
        "paper": None,
        "values": [float(v) for v in values],
    }
