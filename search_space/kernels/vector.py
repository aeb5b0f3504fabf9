"""Vectors of sixteen numbers for Numba kernels, as AVX-512 has them.

Numba's own vectoriser turns a look-up in a small table into a slow gather, although one
instruction can permute a register. Compiled functions may use these operations if `SUPPORTED` is
true. They follow IEEE arithmetic.
"""

from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

WIDTH = 16

# False if the user has configured Numba to compile for another processor than this one.
SUPPORTED = not numba.config.CPU_NAME and binding.get_host_cpu_features().get("avx512f", False)

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INTEGERS = ir.VectorType(ir.IntType(32), WIDTH)
_MASK = ir.VectorType(ir.IntType(1), WIDTH)


# Numba has no vector types, so these two are declared here.
class _Floats(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Floats16")


class _Integers(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Integers16")


floats, integers = _Floats(), _Integers()


@register_model(_Floats)
class _FloatsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(_Integers)
class _IntegersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _INTEGERS)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, to: Any) -> Any:
    """Return the address of `array[index]`, of a contiguous array, as that of a vector."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    one = builder.insert_element(
        ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _first(builder: Any, count: Any) -> Any:
    """Return the mask of the first `count` lanes."""
    lanes = ir.Constant(_INTEGERS, list(range(WIDTH)))
    narrow = builder.trunc(count, ir.IntType(32))
    return builder.icmp_signed("<", lanes, _splat(builder, narrow, _INTEGERS))


def _call(builder: Any, name: str, result: Any, arguments: list[Any], **options: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments, **options)


@intrinsic
def splat(typing: Any, value: Any) -> Any:  # noqa: ARG001
    """Return a vector of sixteen times one number."""
    # None tells Numba that there is no such function for this type.
    if value != types.float32:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return _splat(builder, arguments[0], _FLOATS)

    return floats(value), generate


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Return sixteen numbers from `array[index]` on, of float32 or int32."""
    result, vector = (floats, _FLOATS) if array.dtype == types.float32 else (integers, _INTEGERS)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index, vector)
        # A run may begin at any element, so addresses are aligned to one number only.
        return builder.load(pointer, align=4)

    return result(array, types.intp), generate


@intrinsic
def load_first(typing: Any, array: Any, index: Any, count: Any) -> Any:  # noqa: ARG001
    """Return the first `count` numbers from `array[index]` on, and zeros in the other lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, count = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index, _FLOATS)
        align = ir.Constant(ir.IntType(32), 4)
        mask, zero = _first(builder, count), ir.Constant(_FLOATS, [0.0] * WIDTH)
        return _call(builder, "llvm.masked.load.v16f32.p0", _FLOATS, [pointer, align, mask, zero])

    return floats(array, types.intp, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    """Write sixteen numbers from `array[index]` on."""
    vector = _FLOATS if array.dtype == types.float32 else _INTEGERS

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index, vector)
        builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def store_first(typing: Any, array: Any, index: Any, count: Any, value: Any) -> Any:  # noqa: ARG001
    """Write the first `count` lanes from `array[index]` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, count, value = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index, _FLOATS)
        align = ir.Constant(ir.IntType(32), 4)
        _call(
            builder,
            "llvm.masked.store.v16f32.p0",
            ir.VoidType(),
            [value, pointer, align, _first(builder, count)],
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), generate


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """`a * b`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.fmul(*arguments)

    return floats(a, b), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """`a * b + c`, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return _call(builder, "llvm.fma.v16f32", _FLOATS, list(arguments))

    return floats(a, b, c), generate


@intrinsic
def subtract(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """`a - b`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.fsub(*arguments)

    return floats(a, b), generate


@intrinsic
def clamp_down(typing: Any, a: Any, last: Any) -> Any:  # noqa: ARG001
    """Return `a` rounded down, between 0 and `last`, as integers; 0 for NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        a, last = arguments
        zero = ir.Constant(_FLOATS, [0.0] * WIDTH)
        a = builder.select(builder.fcmp_ordered(">", a, zero), a, zero)
        a = builder.select(builder.fcmp_ordered("<", a, last), a, last)
        return builder.fptosi(a, _INTEGERS)

    return integers(a, last), generate


@intrinsic
def to_floats(typing: Any, a: Any) -> Any:  # noqa: ARG001
    """Return integers as floats."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.sitofp(arguments[0], _FLOATS)

    return floats(a), generate


@intrinsic
def twice(typing: Any, a: Any) -> Any:  # noqa: ARG001
    """Return twice the integers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.add(arguments[0], arguments[0])

    return integers(a), generate


@intrinsic
def look_up(typing: Any, low: Any, index: Any, high: Any) -> Any:  # noqa: ARG001
    """Return entries `index` of a table of 32 numbers, which two vectors contain."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        # LLVM's own shuffle needs a constant order, so the processor's instruction is named.
        return _call(builder, "llvm.x86.avx512.vpermi2var.ps.512", _FLOATS, list(arguments))

    return floats(low, index, high), generate


@intrinsic
def store_pairs(typing: Any, array: Any, index: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Write `a` and `b` in turn, 32 numbers, from `array[index]` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, a, b = arguments
        both = ir.VectorType(ir.FloatType(), 2 * WIDTH)
        order = [lane for i in range(WIDTH) for lane in (i, WIDTH + i)]
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 2 * WIDTH), order)
        pointer = _pointer(context, builder, signature.args[0], array, index, both)
        builder.store(builder.shuffle_vector(a, b, lanes), pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, a, b), generate


@intrinsic
def add_pair(typing: Any, totals: Any, at: Any, pairs: Any, index: Any) -> Any:  # noqa: ARG001
    """Add two numbers from `pairs[index]` on to the two from `totals[at]` on, as one vector.

    Unlike the others it works on any processor, and for float64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        totals, at, pairs, index = arguments
        wide = signature.args[0].dtype == types.float64
        pair = ir.VectorType(ir.DoubleType() if wide else ir.FloatType(), 2)
        target = _pointer(context, builder, signature.args[0], totals, at, pair)
        source = _pointer(context, builder, signature.args[2], pairs, index, pair)
        more = builder.load(source, align=4)
        builder.store(builder.fadd(builder.load(target, align=4), more), target, align=4)
        return context.get_dummy_value()

    return types.void(totals, types.intp, pairs, types.intp), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Prefetch the memory of `array[index]`, which may lie outside the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index, ir.IntType(8))
        # For reading; into all caches; as data.
        flags = [ir.Constant(ir.IntType(32), flag) for flag in (0, 3, 1)]
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
