"""Fields ẋ = b(x) of points, (..., d) -> (..., d), float64, such as `System.drift`, and boxes.

Times are in the unit in which the field is a velocity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.differentiate import jacobian as numerical_jacobian

from limitcycles.runtime import arguments
from limitcycles.runtime.errors import LimitcyclesError
from limitcycles.theory.functions import pure

Field = Callable[[np.ndarray], np.ndarray]

SMALL = 1e-8  # relative: eigenvalues and displacements below it count as zero
TURN = 2 * np.pi
CYCLE_POINTS = 2000  # a trapezoid over a period converges faster than any power of this
GUARD = 3  # paths that leave a box this many times as wide have left


class DynamicsError(LimitcyclesError):
    """A field, box or section with which no search can be made."""


def bounds_of(
    box: Sequence[Sequence[float]], dimension: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    sides = arguments.points("box", box, DynamicsError)
    good = sides.ndim == 2 and sides.shape[1] == 2 and (sides[:, 0] < sides[:, 1]).all()
    if not good or (dimension is not None and len(sides) != dimension):
        wanted = f"{dimension} " if dimension else ""
        raise DynamicsError(f"the box {box} needs {wanted}pairs (low, high) with low < high.")
    return sides[:, 0], sides[:, 1]


def evaluated(drift: Field, points: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = pure(drift, "field")(points)
    if values.shape != points.shape:
        raise DynamicsError(
            f"the field maps points of shape {points.shape} to {values.shape}; it must keep the "
            "shape (..., d)."
        )
    return values


def jacobian_of(drift: Field) -> Field:
    """A numerical ∂b_i/∂x_k, (..., d) -> (..., d, d), good to about 1e-10."""
    drift = pure(drift, "field")

    def slope(points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        with np.errstate(all="ignore"):
            found = numerical_jacobian(
                lambda x: np.moveaxis(drift(np.moveaxis(x, 0, -1)), -1, 0),
                np.moveaxis(points, -1, 0),
                initial_step=1e-2,
            )
        return np.moveaxis(found.df, (0, 1), (-2, -1))

    return slope
