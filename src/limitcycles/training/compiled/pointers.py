"""Compiled functions by their address: loops that are compiled once call the step of any optimiser.

Numba can be given such a function itself, too, and then takes longer to look at it, for each call
from Python, than a short epoch does.
"""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT = types.float32
# Weights and gradient (size,), vectors (vector, size) and numbers (number,), all float32.
STEP = types.void(_FLOAT[::1], _FLOAT[::1], _FLOAT[:, ::1], _FLOAT[::1])


@intrinsic
def step_at(typing, address):
    """The function of the signature STEP, made by `numba.cfunc`, that is at this address."""

    def generate(context, builder, signature, arguments):
        made = cgutils.create_struct_proxy(signature.return_type)(context, builder)
        made.c_addr = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        return made._getvalue()

    return types.FunctionType(STEP)(types.intp), generate
