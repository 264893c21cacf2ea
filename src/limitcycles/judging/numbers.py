"""A number of a claim as its result file has it; every statistic is made here."""

from __future__ import annotations

from collections.abc import Sequence

from limitcycles.statistics.intervals import REAL, Scale, estimate, exact_binomial

LARGEST, SMALLEST, MEDIAN = "largest", "smallest", "median"
SHARE, SLOPE, COMPUTED = "share", "slope", "computed"
BOUND, NO_DRAWS = "the rule bounds each value", "computed, without draws"
UNTOLD = "none is computed of a median"
EXACT_BINOMIAL = "exact binomial"


def result_entry(
    name: str,
    value: float | None,
    *,
    kind: str,
    unit: str,
    level: float | None,
    n: int,
    interval: Sequence[float] | None = None,
    scale: str | None = None,
    missing: str | None = None,
    paper: float | None = None,
    values: Sequence[float] = (),
) -> dict:
    """One number: `kind` says how it came from its n `values`, "geometric mean" for instance.

    Either it has an `interval` at `level`, on the `scale` of that name, or `missing` says why not.
    """
    return {
        "name": name,
        "value": None if value is None else float(value),
        "kind": kind,
        "interval": None if interval is None else [float(end) for end in interval],
        "interval_scale": None if interval is None else scale,
        "missing": missing,
        "level": level,
        "unit": unit,
        "n": int(n),
        "paper": paper,
        "values": [float(v) for v in values],
    }


def statistic(
    name: str,
    values: Sequence[float],
    *,
    scale: Scale,
    unit: str,
    level: float,
    paper: float | None = None,
) -> dict:
    """The mean over seeds on the scale of the quantity (`statistics.intervals`), one value each.

    Raises ValueError: as `statistics.estimate`.
    """
    found = estimate(values, scale, level)
    return result_entry(
        name,
        found.value,
        kind=scale.mean,
        unit=unit,
        level=level,
        n=len(values),
        interval=found.interval,
        scale=scale.name,
        missing=found.missing,
        paper=paper,
        values=values,
    )


def largest(
    name: str, values: Sequence[float], unit: str = "1", level: float | None = None
) -> dict:
    """The largest of some numbers, for a rule that bounds each of them; it has no interval."""
    return _extreme(LARGEST, max(values), name, values, unit, level)


def smallest(
    name: str, values: Sequence[float], unit: str = "1", level: float | None = None
) -> dict:
    """The smallest of some numbers, for a rule that bounds each of them; it has no interval."""
    return _extreme(SMALLEST, min(values), name, values, unit, level)


def single(name: str, value: float, unit: str = "1", n: int = 1, **more) -> dict:
    """A number that was computed without draws, over `n` things (grids, starts); no interval.

    `more` can have kind, level, missing, paper and values.
    """
    said = {"kind": COMPUTED, "level": None, "missing": NO_DRAWS}
    return result_entry(name, value, unit=unit, n=n, **(said | more))


def counted(name: str, hits: int, n: int, *, level: float, paper: float | None = None) -> dict:
    """A share of n independent trials in percent, with its Clopper–Pearson interval."""
    low, high = exact_binomial(hits, n, level)
    return result_entry(
        name,
        100 * hits / n,
        kind=SHARE,
        unit="%",
        level=level,
        n=n,
        interval=(100 * low, 100 * high),
        scale=EXACT_BINOMIAL,
        paper=paper,
    )


def sloped(
    name: str,
    value: float,
    interval: Sequence[float] | None,
    n: int,
    *,
    level: float,
    values: Sequence[float] = (),
) -> dict:
    """A least-squares slope over n points, with its t interval (None: two points)."""
    return result_entry(
        name,
        value,
        kind=SLOPE,
        unit="1",
        level=level,
        n=n,
        interval=interval,
        scale=REAL.name,
        missing=None if interval is not None else "two points",
        values=values,
    )


def within(value: float, target: float, factor: float) -> bool:
    """target/factor ≤ value ≤ target·factor."""
    return target / factor <= value <= target * factor


def _extreme(kind: str, value: float, name: str, values, unit: str, level: float | None) -> dict:
    return result_entry(
        f"{kind} {name}",
        value,
        kind=kind,
        unit=unit,
        level=level,
        n=len(values),
        missing=BOUND,
        values=values,
    )
