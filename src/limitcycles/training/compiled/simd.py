"""Sixteen float32 numbers as one value in compiled code: a vector register.

The compiler turns loops over arrays into vector instructions, but it keeps sums in memory and
checks at every loop whether arrays overlap; in a network with 16 units that costs more than the
arithmetic. Values of this type stay in registers. Processors with shorter registers take two or
four for one value.

Every operation is that of IEEE 754, rounded once, and sums have a fixed order: the same bits
however the compiler optimises what is around them.

Arrays are one-dimensional, float32 and contiguous; `at` is the place of the first of 16 numbers.
Nothing checks that they are inside.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)


class _Lanes(types.Type):
    def __init__(self):
        super().__init__(name="float32x16")


lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


def _address(context, builder, kind, array, at):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())


@intrinsic
def load(typing, array, at):
    """The 16 numbers from array[at] on."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, array, *arguments))
        value.align = 4
        return value

    return lanes(array, types.intp), generate


@intrinsic
def store(typing, array, at, value):
    """array[at : at + 16] = value."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, array, *arguments[:2])
        builder.store(arguments[2], address).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


def _splat(builder, number):
    single = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, _index(0))
    zeros = ir.Constant(_INTEGERS, [0] * LANES)
    return builder.shuffle_vector(single, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _index(number: int):
    return ir.Constant(ir.IntType(32), number)


@intrinsic
def splat(typing, number):
    """The same number 16 times."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return lanes(types.float32), generate


@intrinsic
def spread(typing, array, at):
    """The number array[at] 16 times."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        return _splat(builder, builder.load(builder.gep(data, [arguments[1]])))

    return lanes(array, types.intp), generate


def _define(symbol, name: str) -> None:
    """Let an operator between two such values be one instruction of LLVM."""

    @intrinsic
    def function(typing, one, other):
        def generate(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments)

        return lanes(lanes, lanes), generate

    @overload(symbol)
    def typed(one, other):
        if one is lanes and other is lanes:
            return lambda one, other: function(one, other)
        return None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


def _call(builder, name: str, result, arguments):
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(builder.module.declare_intrinsic(name, fnty=kind), arguments)


@intrinsic
def fma(typing, one, other, more):
    """one · other + more, rounded once."""

    def generate(context, builder, signature, arguments):
        return _call(builder, "llvm.fma.v16f32", _VECTOR, arguments)

    return lanes(lanes, lanes, lanes), generate


def _unary(name: str, text: str):
    @intrinsic
    def function(typing, value):
        def generate(context, builder, signature, arguments):
            return _call(builder, f"llvm.{name}.v16f32", _VECTOR, arguments)

        return lanes(lanes), generate

    function.__doc__ = text
    return function


floor = _unary("floor", "The largest whole numbers that are not above.")
root = _unary("sqrt", "Square roots.")


@intrinsic
def positive(typing, value, by):
    """`value` where `by` > 0, else 0; where `by` is NaN too, so that a NaN in `value` stays."""

    def generate(context, builder, signature, arguments):
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        negative = builder.fcmp_ordered("<=", arguments[1], zero)
        return builder.select(negative, zero, arguments[0])

    return lanes(lanes, lanes), generate


@intrinsic
def larger(typing, one, other):
    """The larger of each pair; NaN where `one` is NaN."""

    def generate(context, builder, signature, arguments):
        less = builder.fcmp_ordered("<", arguments[0], arguments[1])
        return builder.select(less, arguments[1], arguments[0])

    return lanes(lanes, lanes), generate


@intrinsic
def first(typing, value, count, rest):
    """The first `count` numbers of `value`, and `rest` in the places behind them."""

    def generate(context, builder, signature, arguments):
        places = ir.Constant(_INTEGERS, list(range(LANES)))
        number = builder.trunc(arguments[1], ir.IntType(32))
        single = builder.insert_element(ir.Constant(_INTEGERS, ir.Undefined), number, _index(0))
        zeros = ir.Constant(_INTEGERS, [0] * LANES)
        counts = builder.shuffle_vector(single, ir.Constant(_INTEGERS, ir.Undefined), zeros)
        inside = builder.icmp_signed("<", places, counts)
        return builder.select(inside, arguments[0], _splat(builder, arguments[2]))

    return lanes(lanes, types.intp, types.float32), generate


@intrinsic
def power_of_two(typing, value):
    """2 to the power of each number, which must be whole and within −126 to 127."""

    def generate(context, builder, signature, arguments):
        whole = builder.fptosi(arguments[0], _INTEGERS)
        bias = ir.Constant(_INTEGERS, [127] * LANES)
        place = ir.Constant(_INTEGERS, [23] * LANES)
        return builder.bitcast(builder.shl(builder.add(whole, bias), place), _VECTOR)

    return lanes(lanes), generate


def _folded(builder, value, combine):
    """One number from 16: the upper half with the lower, four times."""
    size = LANES // 2
    while size:
        # The places behind `size` are no matter any more.
        places = ir.Constant(_INTEGERS, [(k + size) % LANES for k in range(LANES)])
        other = builder.shuffle_vector(value, value, places)
        value, size = combine(value, other), size // 2
    return builder.extract_element(value, _index(0))


@intrinsic
def total(typing, value):
    """The sum of all 16, in a fixed order."""

    def generate(context, builder, signature, arguments):
        return _folded(builder, arguments[0], builder.fadd)

    return types.float32(lanes), generate


@intrinsic
def largest(typing, value):
    """The largest of all 16; with a NaN among them, any of them."""

    def generate(context, builder, signature, arguments):
        def combine(one, other):
            return builder.select(builder.fcmp_ordered("<", one, other), other, one)

        return _folded(builder, arguments[0], combine)

    return types.float32(lanes), generate
