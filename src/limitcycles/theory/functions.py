"""Functions that a user gives (a drift, D(x), a loss ...), called so that they can change nothing.

NumPy hands arrays over, not their values: after `def drift(x): x -= 1; return -x` the caller's
points are others than before. And a function may give the same array, filled anew, at each call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limitcycles.runtime.arguments import check_filled
from limitcycles.runtime.errors import LimitcyclesError


class FunctionError(LimitcyclesError):
    """A user's function that gives no real numbers."""


class Pure:
    """`function` on copies of its arguments (arrays), and its value as a new float64 array.

    `name` is what messages call it. Shapes are the caller's to check. Raises FunctionError: what
    the function gives cannot be read as real numbers. Errors of the function itself pass.
    """

    def __init__(self, function: Callable, name: str):
        self.function, self.name = function, name

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        given = self.function(*[np.array(argument) for argument in arguments])
        check_filled(f"what the function given as {self.name} returns", given, FunctionError)
        try:
            value = np.array(given)
        except (ValueError, TypeError, RuntimeError) as error:
            raise self._refused(given, f" ({error})") from error
        if value.dtype == np.float64:
            return value
        if value.dtype.kind not in "biuf":
            raise self._refused(given, f" of {value.dtype}" if value.dtype.kind == "c" else "")
        return value.astype(np.float64)

    def _refused(self, given, more: str) -> FunctionError:
        return FunctionError(
            f"the function given as {self.name} returned {type(given).__name__}{more}; it must "
            "return an array of real numbers"
        )


def pure(function: Callable, name: str) -> Pure:
    """`function` wrapped by `Pure`, once. Raises FunctionError: it cannot be called."""
    if isinstance(function, Pure):
        return function
    if not callable(function):
        raise FunctionError(
            f"{name} must be a function of points, not {type(function).__name__}; for a constant "
            "write a function that returns it at each point"
        )
    return Pure(function, name)
