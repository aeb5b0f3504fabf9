"""PWLU for CPUs, in Numba: one pass over the input forward, one backward.

An input is looked at as runs of one channel (`(N, C, *)` in memory order) or as pixels that
hold all channels (channels last). A table of up to 32 rows is held in two vectors where the
processor permutes them; elsewhere, and in float64, it is read from memory.

Half the work of the backward pass is a histogram: the sums of `g` and of `g` times the place
within the interval, over each row of the table. The two lie side by side and are added to at
once; several copies of them take turns, so that equal rows need not wait for each other. Block
by block they are added up in float64. Every chunk of the input has its own sums, and the chunks
are added in their order: the result depends on the number of chunks alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_space.activations.pwlu_table import MIN_WIDTH
from search_space.activations.shape import working_dtype
from search_space.kernels import jit, layout
from search_space.kernels import vector as v
from search_space.kernels.jit import compiled

# Values, outer slopes, bounds.
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

# The largest table that two vectors hold.
VECTOR_ROWS = 32

# Elements whose rows and weights are held at a time, in the fastest cache; and pixels whose sums
# are taken in the dtype of the input.
_BLOCK = 512
_PIXELS = 256

# Copies of the sums over a block.
_COPIES = 8


def forward(x: Tensor, parameters: Parameters, channel_dim: int) -> Tensor:
    """Return PWLU of a settled `x`, laid out as it."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    dtype = working_dtype(x)
    wide = x.to(dtype)
    out = y if y.dtype == dtype else torch.empty_like(wide)
    table = _Table.of(parameters, dtype)
    view = _view(x, table, channel_dim)
    chunks = jit.chunks(x.numel())
    source, target = (layout.flat(t, channel_dim).numpy() for t in (wide, out))
    if view.length == 1:
        shape = (view.outer, view.channels)
        pixels = source.reshape(shape), target.reshape(shape)
        jit.run(chunks, _forward_pixels, *pixels, *table, chunks)
    else:
        run = _forward_runs_in_vectors if _in_vectors(table, view) else _forward_runs
        jit.run(chunks, run, source, target, *table, view.length, chunks)
    return y if out is y else y.copy_(out)


def backward(
    x: Tensor, grad: Tensor, parameters: Parameters, channel_dim: int
) -> tuple[Tensor, ...]:
    """Return the gradients of a settled `x` and of the parameters, in the dtype of the maths."""
    dtype = working_dtype(x)
    wide, wide_grad = x.to(dtype), grad.to(dtype)
    dx = torch.empty_like(wide)
    table = _Table.of(parameters, dtype)
    view = _view(x, table, channel_dim)
    chunks = jit.chunks(x.numel())
    arrays = [layout.flat(t, channel_dim).numpy() for t in (wide, wide_grad, dx)]
    width, rows = parameters[0].shape[0], table.last + 1
    lines = table.slope, table.scale, table.shift, table.last
    sums = np.zeros((chunks, width, 2 * rows))
    if x.numel() == 0:
        pass
    elif view.length == 1:
        pixels = (array.reshape(view.outer, view.channels) for array in arrays)
        jit.run(chunks, _backward_pixels, *pixels, *lines, sums)
    else:
        run = _backward_runs_in_vectors if _in_vectors(table, view) else _backward_runs
        jit.run(chunks, run, *arrays, *lines, sums, view.length)
    gradients = [torch.empty_like(p, dtype=dtype) for p in parameters]
    _differentiate(sums, table.slope, table.scale, rows, *(d.numpy() for d in gradients))
    return dx.to(x.dtype), *gradients


class _Table(NamedTuple):
    """PWLU as rows `y = slope * x + offset`: row 0 left of the knots, the last row right of them.

    The row of `x` is `floor(scale * x + shift)`, clamped. Rows are padded to what vectors hold.
    """

    slope: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    last: int

    @staticmethod
    def of(parameters: Parameters, dtype: torch.dtype) -> "_Table":
        arrays = [p.to(dtype).contiguous().numpy() for p in parameters]
        width, knots = arrays[0].shape
        if any(array.shape != (width,) for array in arrays[1:]):
            shapes = [tuple(p.shape) for p in parameters]
            raise ValueError(f"the parameters must be of as many channels, got {shapes}")
        rows = max(VECTOR_ROWS, knots + 1)
        slope, offset = (np.zeros((width, rows), arrays[0].dtype) for _ in range(2))
        scale, shift = (np.empty(width, arrays[0].dtype) for _ in range(2))
        _tabulate(*arrays, slope, offset, scale, shift)
        return _Table(slope, offset, scale, shift, knots)


def _view(x: Tensor, table: _Table, channel_dim: int) -> layout.View:
    """Where one table serves the whole layer, the input is one run of it."""
    if table.scale.size == 1:
        return layout.View(1, 1, x.numel())
    return layout.View.of(x, channel_dim)


def _in_vectors(table: _Table, view: layout.View) -> bool:
    fits = v.SUPPORTED and table.last < VECTOR_ROWS and view.length >= v.WIDTH
    return fits and table.slope.dtype == np.float32


@compiled()
def _tabulate(values, left_slope, right_slope, left, right, slope, offset, scale, shift):
    one, least = values.dtype.type(1), values.dtype.type(MIN_WIDTH)
    segments = values.shape[1] - 1
    for c in range(values.shape[0]):
        width = right[c] - left[c]
        step = (least if width < least else width) / values.dtype.type(segments)
        slope[c, 0] = left_slope[c]
        offset[c, 0] = values[c, 0] - left_slope[c] * left[c]
        for i in range(segments + 1):
            knot = values.dtype.type(i) * step + left[c]
            inner = i < segments
            slope[c, i + 1] = (values[c, i + 1] - values[c, i]) / step if inner else right_slope[c]
            offset[c, i + 1] = values[c, i] - slope[c, i + 1] * knot
        scale[c] = one / step
        shift[c] = one - left[c] / step


@compiled()
def _differentiate(
    sums, slope, scale, rows, d_values, d_left_slope, d_right_slope, d_left, d_right
):
    """Write the gradients of the parameters, from the sums over each row of the table.

    With `t` the place within the interval, `y = Y_i + t (Y_{i+1} - Y_i)` inside, and a bound
    moves `t`: the formulas need the sums of `g` and of `g t` alone.
    """
    segments = rows - 2
    for c in range(scale.size):
        both = sums[0, c].copy()
        for chunk in range(1, sums.shape[0]):
            both += sums[chunk, c]
        total, moment = both[0::2], both[1::2]
        step = 1 / np.float64(scale[c])
        near, far, after = 0.0, 0.0, total[0]
        for i in range(segments):
            part = moment[i + 1]
            d_values[c, i] = after + total[i + 1] - part
            after = part
            # (x - left) / (right - left), and the rest to 1, weighted by g times the slope.
            share = (i * total[i + 1] + part) / segments * slope[c, i + 1]
            far += share
            near += total[i + 1] * slope[c, i + 1] - share
        d_values[c, segments] = after + total[rows - 1]
        # Left of the knots `x` is measured from the first of them, which is at position 1.
        d_left_slope[c] = step * (moment[0] - total[0])
        d_right_slope[c] = step * moment[rows - 1]
        d_left[c] = -slope[c, 0] * total[0] - near
        d_right[c] = -slope[c, rows - 1] * total[rows - 1] - far


@compiled()
def _forward_runs(x, y, slope, offset, scale, shift, last, length, chunks, chunk):
    """Write `y`; `x` and `y` are runs of `length` elements, each of the next channel."""
    step = (x.size + chunks - 1) // chunks
    start, stop = chunk * step, min(x.size, (chunk + 1) * step)
    while start < stop:
        run = start // length
        end = min(stop, (run + 1) * length)
        c = run % scale.size
        _forward_run(x[start:end], y[start:end], slope[c], offset[c], scale[c], shift[c], last)
        start = end


@compiled()
def _forward_runs_in_vectors(x, y, slope, offset, scale, shift, last, length, chunks, chunk):
    """`_forward_runs` of float32 and at most `VECTOR_ROWS` rows."""
    step = (x.size + chunks - 1) // chunks
    start, stop = chunk * step, min(x.size, (chunk + 1) * step)
    while start < stop:
        run = start // length
        end = min(stop, (run + 1) * length)
        c = run % scale.size
        _forward_run_in_vectors(x, y, start, end, c, slope, offset, scale, shift, last)
        start = end


@compiled()
def _forward_pixels(x, y, slope, offset, scale, shift, last, chunks, chunk):
    """Write `y`; `x` and `y` are `(pixels, channels)`."""
    step = (x.shape[0] + chunks - 1) // chunks
    for m in range(chunk * step, min(x.shape[0], (chunk + 1) * step)):
        _forward_pixel(x[m], y[m], slope, offset, scale, shift, last)


@compiled()
def _backward_runs(x, g, dx, slope, scale, shift, last, sums, length, chunk):
    """Write `dx` and add to `sums`, `(chunks, channels, pairs of rows)` in float64."""
    chunks = sums.shape[0]
    step = (x.size + chunks - 1) // chunks
    at, pairs = np.empty(_BLOCK, np.int32), np.empty(2 * _BLOCK, x.dtype)
    totals = np.zeros(_COPIES * sums.shape[2], x.dtype)
    start, stop = chunk * step, min(x.size, (chunk + 1) * step)
    while start < stop:
        run = start // length
        end = min(stop, (run + 1) * length, start + _BLOCK)
        c = run % scale.size
        part = slice(start, end)
        _backward_run(x[part], g[part], dx[part], slope[c], scale[c], shift[c], last, at, pairs)
        _add_pairs(at, pairs, x, g, start, end, totals, sums, chunk, c)
        start = end


@compiled()
def _backward_runs_in_vectors(x, g, dx, slope, scale, shift, last, sums, length, chunk):
    """`_backward_runs` of float32 and at most `VECTOR_ROWS` rows."""
    chunks = sums.shape[0]
    step = (x.size + chunks - 1) // chunks
    at, pairs = np.empty(_BLOCK, np.int32), np.empty(2 * _BLOCK, np.float32)
    totals = np.zeros(_COPIES * sums.shape[2], np.float32)
    start, stop = chunk * step, min(x.size, (chunk + 1) * step)
    while start < stop:
        run = start // length
        end = min(stop, (run + 1) * length, start + _BLOCK)
        c = run % scale.size
        _backward_run_in_vectors(x, g, dx, start, end, c, slope, scale, shift, last, at, pairs)
        _add_pairs(at, pairs, x, g, start, end, totals, sums, chunk, c)
        start = end


@compiled()
def _backward_pixels(x, g, dx, slope, scale, shift, last, sums, chunk):
    """Write `dx` and add to `sums`, `(chunks, channels, pairs of rows)` in float64."""
    chunks, channels, width = sums.shape
    step = (x.shape[0] + chunks - 1) // chunks
    at, pairs = np.empty(channels, np.int32), np.empty(2 * channels, x.dtype)
    totals = np.zeros(channels * width, x.dtype)
    start, stop = chunk * step, min(x.shape[0], (chunk + 1) * step)
    for block in range(start, stop, _PIXELS):
        for m in range(block, min(stop, block + _PIXELS)):
            _backward_pixel(x[m], g[m], dx[m], slope, scale, shift, last, at, pairs)
            for c in range(channels):
                v.add_pair(totals, np.intp(c * width + at[c]), pairs, np.intp(2 * c))
        for c in range(channels):
            for i in range(width):
                sums[chunk, c, i] += totals[c * width + i]
        totals[:] = 0


@compiled()
def _forward_run(x, y, slope, offset, scale, shift, last):
    zero, top = x.dtype.type(0), x.dtype.type(last)
    for i in range(x.size):
        position = x[i] * scale + shift
        # In this order NaN becomes 0.
        position = position if position > zero else zero
        row = np.uint32(np.int32(position if position < top else top))
        y[i] = slope[row] * x[i] + offset[row]


@compiled()
def _forward_run_in_vectors(x, y, start, stop, c, slope, offset, scale, shift, last):
    """The elements from `start` to `stop`; to cut views out of the arrays would take as long."""
    row0 = np.intp(c * slope.shape[1])
    s, s16 = v.load(slope, row0), v.load(slope, row0 + v.WIDTH)
    o, o16 = v.load(offset, row0), v.load(offset, row0 + v.WIDTH)
    scales, shifts, lasts = v.splat(scale[c]), v.splat(shift[c]), v.splat(np.float32(last))
    whole = stop - (stop - start) % v.WIDTH
    for i in range(start, whole, v.WIDTH):
        a = v.load(x, i)
        row = v.clamp_down(v.multiply_add(a, scales, shifts), lasts)
        v.store(y, i, v.multiply_add(v.look_up(s, row, s16), a, v.look_up(o, row, o16)))
    if whole < stop:
        a = v.load_first(x, whole, stop - whole)
        row = v.clamp_down(v.multiply_add(a, scales, shifts), lasts)
        part = v.multiply_add(v.look_up(s, row, s16), a, v.look_up(o, row, o16))
        v.store_first(y, whole, stop - whole, part)


@compiled()
def _forward_pixel(x, y, slope, offset, scale, shift, last):
    zero, top = x.dtype.type(0), x.dtype.type(last)
    for c in range(x.size):
        position = x[c] * scale[c] + shift[c]
        position = position if position > zero else zero
        row = np.uint32(np.int32(position if position < top else top))
        y[c] = slope[c, row] * x[c] + offset[c, row]


@compiled()
def _backward_run(x, g, dx, slope, scale, shift, last, at, pairs):
    """Write where in the sums each element belongs, and what is to be added there."""
    zero, top = x.dtype.type(0), x.dtype.type(last)
    for i in range(x.size):
        position = x[i] * scale + shift
        within = position if position > zero else zero
        row = np.int32(within if within < top else top)
        at[i] = 2 * row
        pairs[2 * i] = g[i]
        pairs[2 * i + 1] = (position - x.dtype.type(row)) * g[i]
        dx[i] = slope[np.uint32(row)] * g[i]


@compiled()
def _backward_run_in_vectors(x, g, dx, start, stop, c, slope, scale, shift, last, at, pairs):
    row0 = np.intp(c * slope.shape[1])
    s, s16 = v.load(slope, row0), v.load(slope, row0 + v.WIDTH)
    scales, shifts, lasts = v.splat(scale[c]), v.splat(shift[c]), v.splat(np.float32(last))
    whole = stop - (stop - start) % v.WIDTH
    for i in range(start, whole, v.WIDTH):
        grad = v.load(g, i)
        position = v.multiply_add(v.load(x, i), scales, shifts)
        row = v.clamp_down(position, lasts)
        v.store(dx, i, v.multiply(v.look_up(s, row, s16), grad))
        v.store(at, i - start, v.twice(row))
        weighted = v.multiply(v.subtract(position, v.to_floats(row)), grad)
        v.store_pairs(pairs, 2 * (i - start), grad, weighted)
    if whole < stop:
        grad = v.load_first(g, whole, stop - whole)
        position = v.multiply_add(v.load_first(x, whole, stop - whole), scales, shifts)
        row = v.clamp_down(position, lasts)
        v.store_first(dx, whole, stop - whole, v.multiply(v.look_up(s, row, s16), grad))
        v.store(at, whole - start, v.twice(row))
        weighted = v.multiply(v.subtract(position, v.to_floats(row)), grad)
        v.store_pairs(pairs, 2 * (whole - start), grad, weighted)


@compiled()
def _add_pairs(at, pairs, x, g, start, stop, totals, sums, chunk, c):
    """Add the pairs of a block to `sums`, by way of the copies in `totals`, which are 0.

    This needs no memory but the fastest cache, so the next block is fetched meanwhile.
    """
    count, width = stop - start, sums.shape[2]
    whole = count - count % _COPIES
    for i in range(0, whole, _COPIES):
        v.prefetch(x, np.intp(stop + i))
        v.prefetch(g, np.intp(stop + i))
        v.add_pair(totals, np.intp(at[i]), pairs, np.intp(2 * i))
        v.add_pair(totals, np.intp(at[i + 1] + width), pairs, np.intp(2 * i + 2))
        v.add_pair(totals, np.intp(at[i + 2] + 2 * width), pairs, np.intp(2 * i + 4))
        v.add_pair(totals, np.intp(at[i + 3] + 3 * width), pairs, np.intp(2 * i + 6))
        v.add_pair(totals, np.intp(at[i + 4] + 4 * width), pairs, np.intp(2 * i + 8))
        v.add_pair(totals, np.intp(at[i + 5] + 5 * width), pairs, np.intp(2 * i + 10))
        v.add_pair(totals, np.intp(at[i + 6] + 6 * width), pairs, np.intp(2 * i + 12))
        v.add_pair(totals, np.intp(at[i + 7] + 7 * width), pairs, np.intp(2 * i + 14))
    for i in range(whole, count):
        v.add_pair(totals, np.intp(at[i]), pairs, np.intp(2 * i))
    for i in range(width):
        total = totals[i]
        for copy in range(1, _COPIES):
            total += totals[copy * width + i]
        sums[chunk, c, i] += total
    totals[:] = 0


@compiled()
def _backward_pixel(x, g, dx, slope, scale, shift, last, at, pairs):
    zero, top = x.dtype.type(0), x.dtype.type(last)
    for c in range(x.size):
        position = x[c] * scale[c] + shift[c]
        within = position if position > zero else zero
        row = np.int32(within if within < top else top)
        at[c] = 2 * row
        pairs[2 * c] = g[c]
        pairs[2 * c + 1] = (position - x.dtype.type(row)) * g[c]
        dx[c] = slope[c, np.uint32(row)] * g[c]
