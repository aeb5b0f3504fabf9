"""PWLU for CPUs, in Numba: one pass over the input forward, one backward.

An input is read as runs of one channel (`(N, C, *)` in memory order) or as pixels that contain
all channels (channels last). A table of up to 32 rows is kept in two vectors if the processor
has AVX-512; otherwise, and in float64, it is read from memory.

Half the work of the backward pass is a histogram: the sums of `g` and of `g` times the place
within the interval, over each row of the table. The two are adjacent in memory and are updated
by one instruction. Elements use several copies of the sums in turn, because an update must wait
for the previous update of the same number. Blocks are added up in float64. Every chunk of the
input has its own sums, and the chunks are added in their order: the result depends on the
number of chunks alone.
"""

import numpy as np
import torch
from torch import Tensor

from search_space.activations.broadcasting import working_dtype
from search_space.kernels import jit, layout
from search_space.kernels import vector as v
from search_space.kernels.cpu_pwlu_table import VECTOR_ROWS, PaddedTable, Parameters, differentiate
from search_space.kernels.jit import compiled
from search_space.kernels.layout import MemoryView

# Elements whose rows and weights are kept at a time, so that they fit the fastest cache.
_BLOCK = 512

# Pixels that are summed in the dtype of the input before they are added in float64.
_PIXELS = 256

# Copies of the sums over a block; `_add_pairs` is unrolled for this number.
_COPIES = 8


def forward(x: Tensor, parameters: Parameters, channel_dim: int) -> Tensor:
    """Return PWLU of a dense `x`, with its strides."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    dtype = working_dtype(x)
    wide = x.to(dtype)
    # Half precision is computed into a float32 array, and rounded once at the end.
    out = y if y.dtype == dtype else torch.empty_like(wide)
    table = PaddedTable.of(parameters, dtype)
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
    """Return the gradients of a dense `x` and of the parameters, in the dtype of the maths."""
    dtype = working_dtype(x)
    wide, wide_grad = x.to(dtype), grad.to(dtype)
    dx = torch.empty_like(wide)
    table = PaddedTable.of(parameters, dtype)
    view = _view(x, table, channel_dim)
    chunks = jit.chunks(x.numel())
    arrays = [layout.flat(t, channel_dim).numpy() for t in (wide, wide_grad, dx)]
    width, rows = parameters[0].shape[0], table.last + 1
    lines = table.slope, table.scale, table.shift, table.last
    # Each chunk has its own sums, so threads need no lock.
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
    differentiate(sums, table.slope, table.scale, rows, *(d.numpy() for d in gradients))
    return dx.to(x.dtype), *gradients


def _view(x: Tensor, table: PaddedTable, channel_dim: int) -> MemoryView:
    return MemoryView.of(x, channel_dim, is_shared=table.scale.size == 1)


def _in_vectors(table: PaddedTable, view: MemoryView) -> bool:
    """Whether vector kernels can run: AVX-512, float32, a small table and long runs."""
    fits = v.SUPPORTED and table.last < VECTOR_ROWS and view.length >= v.WIDTH
    return fits and table.slope.dtype == np.float32


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
        # No block crosses a run, so it needs one table.
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
        # In float64 once for each block: the totals of many pixels would lose digits.
        for c in range(channels):
            for i in range(width):
                sums[chunk, c, i] += totals[c * width + i]
        totals[:] = 0


@compiled()
def _forward_run(x, y, slope, offset, scale, shift, last):
    zero, top = x.dtype.type(0), x.dtype.type(last)
    for i in range(x.size):
        position = x[i] * scale + shift
        # Written so that NaN becomes 0: a comparison with NaN is false.
        position = position if position > zero else zero
        # Unsigned, so that Numba does not test for a negative index.
        row = np.uint32(np.int32(position if position < top else top))
        y[i] = slope[row] * x[i] + offset[row]


@compiled()
def _forward_run_in_vectors(x, y, start, stop, c, slope, offset, scale, shift, last):
    """Write `y` from `start` to `stop`, given by index: making views would take as long."""
    row0 = np.intp(c * slope.shape[1])
    # The whole table stays in four registers for the run.
    s, s16 = v.load(slope, row0), v.load(slope, row0 + v.WIDTH)
    o, o16 = v.load(offset, row0), v.load(offset, row0 + v.WIDTH)
    scales, shifts, lasts = v.splat(scale[c]), v.splat(shift[c]), v.splat(np.float32(last))
    whole = stop - (stop - start) % v.WIDTH
    for i in range(start, whole, v.WIDTH):
        a = v.load(x, i)
        row = v.clamp_down(v.multiply_add(a, scales, shifts), lasts)
        v.store(y, i, v.multiply_add(v.look_up(s, row, s16), a, v.look_up(o, row, o16)))
    # The end of the run fills only part of a vector.
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
    """Write `dx`, the index in the sums of each element, and the pair to add there."""
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
    """Add the pairs of a block to `sums`, through the copies in `totals`, which are 0 before.

    This reads only the fastest cache, so the next block is prefetched from memory meanwhile.
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
