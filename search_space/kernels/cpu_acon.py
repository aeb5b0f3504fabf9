"""ACON-C for CPUs, in Numba: one pass over the input forward, one backward.

With `a = p1 - p2`, `b = beta a`, `u = b x` and `s = sigmoid(u)`: `y = x (a s + p2)`. An input is
read as runs that share their parameters, or as pixels that contain all channels. Runs are cut
into pieces, whose sums for the gradients of the parameters are computed in the dtype of the input;
the pieces are added in float64, in an order that does not depend on the threads.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from torch import Tensor

from search_space.activations.broadcasting import working_dtype
from search_space.kernels import jit, layout
from search_space.kernels.jit import compiled
from search_space.kernels.layout import MemoryView

# Numbers of elements of a run, and of pixels, that are summed in the dtype of the input: few enough
# that rounding stays small.
_PIECE = 1 << 12
_ROWS = 1 << 6

# ln 2 in two parts. The first has so few bits that its products with exponents are exact.
_LN2, _LN2_REST = np.float32(0.693145751953125), np.float32(1.4286068202862268e-06)
_LOG2E = np.float32(1.4426950408889634)

# exp(r) = 1 + r + r^2 (C0 + C1 r + ... + C4 r^4) for |r| <= ln(2) / 2, with a relative error below
# 4e-9: far less than the rounding of float32.
_C0, _C1, _C2, _C3, _C4 = (
    np.float32(c)
    for c in (
        0.4999999344778298,
        0.16666520631667764,
        0.04166838804803921,
        0.008368716883571797,
        0.0013814598512975392,
    )
)


def forward(x: Tensor, a: Tensor, b: Tensor, p2: Tensor, channel_dim: int) -> Tensor:
    """Return ACON-C of a dense `x`, with its strides.

    Args:
        a: `(1, 1)`, `(1, C)`, or `(N, C)` where it differs between samples; as `b` and `p2`.
    """
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    dtype = working_dtype(x)
    wide = x.to(dtype)
    # Half precision is computed into a float32 array, and rounded once at the end.
    out = y if y.dtype == dtype else torch.empty_like(wide)
    view = MemoryView.of(x, channel_dim, is_shared=a.numel() == 1)
    chunks = jit.chunks(x.numel())
    source, target = (layout.flat(t, channel_dim).numpy() for t in (wide, out))
    parameters = [_values(p) for p in (a, b, p2)]
    if view.length == 1:
        shape = (view.outer, view.channels)
        # Pixels that share one row of parameters: all, or those of one sample.
        each = view.outer // a.shape[0]
        jit.run(
            chunks, _forward_pixels, source.reshape(shape), target.reshape(shape), *parameters,
            each, chunks,
        )  # fmt: skip
    else:
        jit.run(chunks, _forward_runs, source, target, *parameters, view.length, chunks)
    return y if out is y else y.copy_(out)


def backward(
    x: Tensor, grad: Tensor, a: Tensor, b: Tensor, p2: Tensor, channel_dim: int
) -> tuple[Tensor, Tensor]:
    """Return the gradient of a dense `x`, and sums for those of the parameters.

    Returns:
        `dx`; and, with `q = s + u s (1 - s)`, the sums of `g x`, `g x q` and `g x^2 s (1 - s)`
        over the elements that share their parameters, `(3, samples, channels)` in float64.
    """
    dtype = working_dtype(x)
    if x.numel() == 0:
        return torch.empty_like(x), a.new_zeros(3, *a.shape, dtype=torch.float64)
    wide, wide_grad = x.to(dtype), grad.to(dtype)
    dx = torch.empty_like(wide)
    view = MemoryView.of(x, channel_dim, is_shared=a.numel() == 1)
    chunks = jit.chunks(x.numel())
    arrays = [layout.flat(t, channel_dim).numpy() for t in (wide, wide_grad, dx)]
    parameters = [_values(p) for p in (a, b, p2)]
    if view.length == 1:
        each = view.outer // a.shape[0]
        pieces = -(-each // _ROWS)
        sums = np.empty((a.shape[0] * pieces, 3, view.channels), arrays[0].dtype)
        arrays = [array.reshape(view.outer, view.channels) for array in arrays]
        jit.run(chunks, _backward_pixels, *arrays, *parameters, each, sums, pieces, chunks)
        # One sum for each piece, whatever thread computed it, so their order is fixed.
        totals = torch.from_numpy(sums).view(a.shape[0], pieces, 3, view.channels)
        return dx.to(x.dtype), totals.sum(1, dtype=torch.float64).transpose(0, 1)
    pieces = -(-view.length // _PIECE)
    runs = view.outer * view.channels
    sums = np.empty((3, runs, pieces), arrays[0].dtype)
    jit.run(chunks, _backward_runs, *arrays, *parameters, view.length, sums, chunks)
    totals = torch.from_numpy(sums).sum(2, dtype=torch.float64)
    return dx.to(x.dtype), totals.view(3, -1, *a.shape).sum(1)


def _values(parameter: Tensor) -> Any:
    return parameter.contiguous().view(-1).numpy()


@intrinsic
def _power_of_two(typing: Any, exponent: Any) -> Any:  # noqa: ARG001
    """2 to the power of an int32 from -126 to 128, as float32; infinity for 128."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        kind = ir.IntType(32)
        # The bits of the exponent of a float32, written directly.
        biased = builder.add(arguments[0], ir.Constant(kind, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(kind, 23)), ir.FloatType())

    return types.float32(types.int32), generate


@compiled()
def sigmoid32(u):
    """The sigmoid of a float32, with a relative error below 3e-7 where it is above 1e-38.

    Below that it is 0. For NaN it is a number, so callers must multiply by `u`, which is NaN.
    """
    t = -u
    t = t if t > np.float32(-87) else np.float32(-87)
    t = t if t < np.float32(88.8) else np.float32(88.8)
    n = np.rint(t * _LOG2E)
    r = (t - n * _LN2) - n * _LN2_REST
    q = _C0 + r * (_C1 + r * (_C2 + r * (_C3 + r * _C4)))
    e = (np.float32(1) + (r + r * r * q)) * _power_of_two(np.int32(n))
    return np.float32(1) / (np.float32(1) + e)


def _sigmoid(u):
    raise NotImplementedError("compiled functions only")


@overload(_sigmoid, inline="always")
def _choose_sigmoid(u):
    if u == types.float32:
        return lambda u: sigmoid32(u)
    return lambda u: 1 / (1 + np.exp(-u))


@compiled()
def _forward_runs(x, y, a, b, p2, length, chunks, chunk):
    """Write `y`; `x` and `y` are runs of `length` elements, each with the next parameters."""
    step = (x.size + chunks - 1) // chunks
    start, stop = chunk * step, min(x.size, (chunk + 1) * step)
    # A chunk may begin and end within a run.
    while start < stop:
        run = start // length
        end = min(stop, (run + 1) * length)
        k = run % a.size
        _forward_run(x[start:end], y[start:end], a[k], b[k], p2[k])
        start = end


@compiled()
def _forward_pixels(x, y, a, b, p2, each, chunks, chunk):
    """Write `y`; `x` and `y` are `(pixels, channels)`, `each` of them to a row of parameters."""
    step = (x.shape[0] + chunks - 1) // chunks
    channels = x.shape[1]
    for m in range(chunk * step, min(x.shape[0], (chunk + 1) * step)):
        k = m // each * channels
        part = slice(k, k + channels)
        _forward_pixel(x[m], y[m], a[part], b[part], p2[part])


@compiled()
def _backward_runs(x, g, dx, a, b, p2, length, sums, chunks, chunk):
    """Write `dx` and `sums`, `(3, runs, pieces)`."""
    pieces = sums.shape[2]
    items = sums.shape[1] * pieces
    step = (items + chunks - 1) // chunks
    for item in range(chunk * step, min(items, (chunk + 1) * step)):
        run, piece = item // pieces, item % pieces
        start = run * length + piece * _PIECE
        part = slice(start, min(start + _PIECE, (run + 1) * length))
        k = run % a.size
        total = _backward_run(x[part], g[part], dx[part], a[k], b[k], p2[k])
        sums[0, run, piece], sums[1, run, piece], sums[2, run, piece] = total


@compiled()
def _backward_pixels(x, g, dx, a, b, p2, each, sums, pieces, chunks, chunk):
    """Write `dx` and `sums`, `(pieces of each row of parameters, 3, channels)`."""
    channels = x.shape[1]
    step = (sums.shape[0] + chunks - 1) // chunks
    for item in range(chunk * step, min(sums.shape[0], (chunk + 1) * step)):
        row, piece = item // pieces, item % pieces
        part = slice(row * channels, (row + 1) * channels)
        total = sums[item]
        total[:] = 0
        start = row * each + piece * _ROWS
        for m in range(start, min(start + _ROWS, (row + 1) * each)):
            _backward_pixel(x[m], g[m], dx[m], a[part], b[part], p2[part], total)


@compiled()
def _forward_run(x, y, a, b, p2):
    for i in range(x.size):
        y[i] = x[i] * (a * _sigmoid(b * x[i]) + p2)


@compiled()
def _forward_pixel(x, y, a, b, p2):
    for c in range(x.size):
        y[c] = x[c] * (a[c] * _sigmoid(b[c] * x[c]) + p2[c])


@compiled()
def _terms(x, g, a, b, p2):
    """Return `dx` and the terms of the three sums, multiplied in an order that avoids overflow."""
    one = type(x)(1)
    u = b * x
    s = _sigmoid(u)
    slope = s * (one - s)
    q = s + u * slope
    gx = g * x
    return g * (a * q + p2), gx, gx * q, g * slope * x * x


# Sums in any order become vectors; the order is fixed when compiled, so results repeat.
@compiled(any_order=True)
def _backward_run(x, g, dx, a, b, p2):
    total = first = sharp = x.dtype.type(0)
    for i in range(x.size):
        dx[i], gx, gxq, gxx = _terms(x[i], g[i], a, b, p2)
        total += gx
        first += gxq
        sharp += gxx
    return total, first, sharp


@compiled()
def _backward_pixel(x, g, dx, a, b, p2, sums):
    for c in range(x.size):
        dx[c], gx, gxq, gxx = _terms(x[c], g[c], a[c], b[c], p2[c])
        sums[0, c] += gx
        sums[1, c] += gxq
        sums[2, c] += gxx
