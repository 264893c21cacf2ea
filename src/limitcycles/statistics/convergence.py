"""Order of convergence: the slope of log error against log step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from limitcycles.runtime.errors import LimitcyclesError


class ConvergenceError(LimitcyclesError):
    """Errors that have no slope."""


@dataclass(frozen=True)
class Slope:
    """log error = slope · log step + intercept; `interval` is None for two steps."""

    slope: float
    interval: tuple[float, float] | None
    intercept: float


def power_of_spacing(cells, errors) -> float:
    """Power of the spacing 1/cells with which errors on grids fall; infinite if one is zero.

    `cells` and `errors` have shape (n,), n ≥ 2. Raises ConvergenceError: as `log_log_slope`.
    """
    if min(errors) <= 0:
        return float("inf")
    return log_log_slope(1 / np.asarray(cells, float), errors).slope


def log_log_slope(steps, errors, level: float = 0.95) -> Slope:
    """Least-squares slope of log |error| against log step, with its Student t interval.

    `steps` and `errors` have shape (n,), n ≥ 2; the interval has n − 2 degrees of freedom. It
    answers how well one power law describes the errors, and holds as an interval where their
    deviations from it are independent; errors without noise deviate by higher orders, which bend
    the line. Errors of the size of their own noise have no order: leave them out (see
    `langevin.weak_error`), or take one slope per seed and an interval over seeds.

    Raises ConvergenceError: fewer than two steps, or a step or error that is zero or not finite.
    """
    steps, errors = np.asarray(steps, dtype=float), np.abs(np.asarray(errors, dtype=float))
    if steps.ndim != 1 or steps.shape != errors.shape or np.unique(steps).size < 2:
        raise ConvergenceError(
            "a slope needs one error for each of at least two different steps, not steps of shape "
            f"{steps.shape} and errors of shape {errors.shape}"
        )
    for name, values in (("step", steps), ("error", errors)):
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise ConvergenceError(
                f"{name} {values[np.argmax(bad)]:g} has no logarithm: a slope needs positive, "
                "finite steps and errors"
            )
    x, y = np.log(steps), np.log(errors)
    if steps.size == 2:
        slope, intercept = np.polyfit(x, y, 1)
        return Slope(float(slope), None, float(intercept))
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
    half = stdtrit(steps.size - 2, (1 + level) / 2) * np.sqrt(covariance[0, 0])
    return Slope(float(slope), (float(slope - half), float(slope + half)), float(intercept))
