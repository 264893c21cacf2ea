"""Numbers that a caller gives, checked: a NaN, a negative time or half a step would pass through.

Each function raises `error`, a class of the caller's module, with a sentence that names the
argument, its value and what it must be.
"""

from __future__ import annotations

import operator

import numpy as np

from limitcycles.runtime.errors import LimitcyclesError

MOST_STEPS = 10**12  # no run of so many ends


def number(
    name: str, value, error: type[LimitcyclesError], *, zero: bool = False, sign: bool = False
) -> float:
    """`value` as a finite float: positive, with `zero` also 0, with `sign` any."""
    wanted = "finite" if sign else "finite and not negative" if zero else "finite and positive"
    try:
        found = float(value)
    except (TypeError, ValueError) as cause:
        raise error(f"{name} must be a number, not {value!r}") from cause
    if not np.isfinite(found) or (not sign and (found < 0 or (found == 0 and not zero))):
        raise error(f"{name} must be {wanted}, not {value}")
    return found


def whole(name: str, value, error: type[LimitcyclesError], *, least: int = 1) -> int:
    """`value` as an int, at least `least`; 2.0 counts as whole."""
    try:
        exact = isinstance(value, float | np.floating) and float(value).is_integer()
        found = int(value) if exact else operator.index(value)
    except TypeError as cause:
        raise error(f"{name} must be a whole number, not {value!r}") from cause
    if found < least:
        raise error(f"{name} must be a whole number from {least} on, not {value}")
    return found


def check_filled(name: str, value, error: type[LimitcyclesError]) -> None:
    """Raise `error` where `value` is an array with masked entries: NumPy would unmask them."""
    if np.ma.is_masked(value):
        raise error(
            f"{name} has masked entries, which are no numbers: fill them, as with "
            ".filled(value), or leave them out"
        )


def points(name: str, value, error: type[LimitcyclesError]) -> np.ndarray:
    """`value` as a finite float64 array of its own; any shape."""
    check_filled(name, value, error)
    try:
        found = np.array(value)
    except (TypeError, ValueError) as cause:
        raise error(f"{name} must be an array of numbers ({cause})") from cause
    if found.dtype.kind not in "biuf":
        raise error(f"{name} must be an array of real numbers, not of {found.dtype}")
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        at = f" at {list(where)}" if where else ""
        raise error(f"{name} must be finite, not {found[where]}{at}")
    return found


def ascending(name: str, value, error: type[LimitcyclesError]) -> np.ndarray:
    """`value` as times or numbers of steps (n,), n ≥ 1, that do not fall, from 0 on."""
    found = points(name, value, error)
    if found.ndim != 1 or not found.size or (np.diff(found, prepend=0.0) < 0).any():
        raise error(f"{name} must ascend from 0 on, not {found.tolist()}")
    return found


def steps_to(
    times: np.ndarray, step: float, error: type[LimitcyclesError]
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and counts (n,) of equal steps of at most `step` between `times`, from 0 on."""
    intervals = np.diff(times, prepend=0.0)
    with np.errstate(over="ignore"):
        counts = np.ceil(intervals / step * (1 - 1e-12))
    if counts.sum() > MOST_STEPS:
        raise error(
            f"step: steps of {step:g} are {counts.sum():.3g} until time {times[-1]:g}; take "
            "longer ones"
        )
    return intervals / np.maximum(counts, 1), counts.astype(int)
