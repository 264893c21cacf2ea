"""Steps of optimisers in compiled code: `update` of an `Elementwise` optimiser over all weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import cfunc, njit, types
from numba.core.errors import NumbaError
from numba.extending import intrinsic, overload

from limitcycles.configuration import plugins
from limitcycles.storage import sources
from limitcycles.training import optimisers
from limitcycles.training.compiled.compiling import OPTIONS, kept
from limitcycles.training.compiled.layers import CompiledError
from limitcycles.training.compiled.pointers import STEP
from limitcycles.training.optimisers import Elementwise, Optimiser

_FLOAT = types.float32


def elementwise(optimiser: Optimiser) -> Elementwise:
    """Raises CompiledError: it is none that the loops can take."""
    if not isinstance(optimiser, Elementwise):
        raise CompiledError(
            f"the optimiser {_name(optimiser)} moves weights together, and trajectories take one "
            "that moves each by itself (limitcycles.training.optimisers.Elementwise): train it as "
            "a run, without a trajectory"
        )
    return optimiser


def table(optimiser: Elementwise, rate: float, done: int, steps: int) -> np.ndarray:
    """The numbers of the next steps, (steps, number) float32, when `done` have been taken."""
    numbers = optimiser.numbers(rate, np.arange(done + 1, done + steps + 1))
    found = np.empty((steps, len(numbers)), np.float32)
    for column, values in enumerate(numbers):
        found[:, column] = values
    return found


def compiled_step(optimiser: Optimiser) -> Callable[..., None]:
    """`step(weights, gradient, vectors, numbers)` in machine code, in place: `pointers.STEP`.

    Raises CompiledError: its `update` does not compile, or is of the wrong shape.
    """
    count = len(elementwise(optimiser).numbers(0.1, 1))
    return _compiled(optimiser.update, len(optimiser.vectors), count, _name(optimiser))


@cache
def _compiled(update: Callable, vectors: int, numbers: int, name: str) -> Callable[..., None]:
    own, given = ([f"{n}{i}" for i in range(k)] for n, k in (("v", vectors), ("n", numbers)))
    at = [f"{v}[i]" for v in own]
    lines = [
        "def step(weights, gradient, vectors, numbers):",
        *(f"    {v} = vectors[{i}]" for i, v in enumerate(own)),
        *(f"    {n} = numbers[{i}]" for i, n in enumerate(given)),
        "    for i in range(weights.shape[0]):",
        f"        {', '.join(['weights[i]', *at])} = update(",
        f"            {', '.join(['weights[i]', 'gradient[i]', *at, *given])}",
        "        )",
    ]
    scope = {"update": njit(**OPTIONS)(update), "__name__": __name__}
    exec(compile("\n".join(lines), __file__, "exec"), scope)
    step, code = scope["step"], _code(update)
    # The name of its file among those that are kept.
    step.__qualname__ = f"{update.__module__}_{update.__qualname__}_{vectors}_{numbers}_{code}"
    try:
        return kept(lambda **how: cfunc(STEP, **how, **OPTIONS)(step), code is not None)
    except NumbaError as error:
        raise CompiledError(
            f"the update of the optimiser {name} cannot be compiled for trajectories "
            f"({_reason(error)}): write it with numbers, + − * / **, abs and the functions of "
            "limitcycles.training.optimisers, or train it as a run, without a trajectory"
        ) from error


def _code(update: Callable) -> str | None:
    """A digest of the sources that decide it; None where they do not tell all."""
    module, here = update.__module__, sources.digest(__name__)
    if update.__closure__ is not None:
        return None
    if module.startswith(f"{sources.PACKAGE}."):
        return sources.digest(__name__, module)
    own = plugins.code(f"{module}:")
    return own and f"{here}_{own}"


def _reason(error: NumbaError) -> str:
    """The first line that says anything."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines[1:] if line and not line.startswith(("-", ">"))), lines[0])


def _name(optimiser: Optimiser) -> str:
    return f"{type(optimiser).__module__}:{type(optimiser).__qualname__}"


@intrinsic
def _fma(typing, a, b, c):
    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return _FLOAT(_FLOAT, _FLOAT, _FLOAT), generate


@overload(optimisers.fma)
def _overloaded_fma(a, b, c):
    return lambda a, b, c: _fma(np.float32(a), np.float32(b), np.float32(c))


@overload(optimisers.root)
def _overloaded_root(a):
    return lambda a: np.sqrt(a)


@overload(optimisers.larger)
def _overloaded_larger(a, b):
    return lambda a, b: np.maximum(a, b)


@overload(optimisers.sign)
def _overloaded_sign(a):
    return lambda a: np.sign(a)
