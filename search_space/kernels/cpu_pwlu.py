"""PWLU for CPUs, in Numba: one pass over the input forward, one backward.

An input is looked at as runs of one channel (`(N, C, *)` in memory order) or as pixels that
hold all channels (channels last). A table of up to 32 rows is held in two vectors where the
processor permutes them; elsewhere, and in float64, it is read from memory.

Half the work of the backward pass is a histogram: the sums of `g` and of `g` times the place
within the interval, over each row of the table. It is taken block by block in the dtype of the
input; the blocks are added in float64. Every chunk of the input has its own sums, and the
caller adds the chunks in their order: the result depends on the number of chunks alone.
"""

import numpy as np
import torch
from numba import prange
from torch import Tensor
from torch.nn import functional as F

from search_space.activations.pwlu import _Table
from search_space.activations.shape import working_dtype
from search_space.kernels import jit, layout
from search_space.kernels import vector as v
from search_space.kernels.jit import compiled

# The largest table that two vectors hold.
VECTOR_ROWS = 32

# Elements whose rows and weights are held at a time, in the fastest cache.
_BLOCK = 1024

# Rows of the table that are summed in registers at a time.
STRIPE = 6


def forward(x: Tensor, table: _Table, channel_dim: int) -> Tensor:
    """Return PWLU of a settled `x`, laid out as it."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    dtype = working_dtype(x)
    wide = x.to(dtype)
    out = y if y.dtype == dtype else torch.empty_like(wide)
    view = _view(x, table, channel_dim)
    chunks = jit.chunks(x.numel())
    source, target = (layout.flat(t, channel_dim).numpy() for t in (wide, out))
    slope, offset, (scale, shift) = table.slope, table.offset, _line(table)
    if view.length == 1:
        shape = (view.outer, view.channels)
        tables = slope.numpy(), offset.numpy(), scale, shift
        jit.run(
            chunks, _forward_pixels, source.reshape(shape), target.reshape(shape), *tables, chunks
        )
    elif _in_vectors(wide, table, view):
        tables = _padded(slope), _padded(offset), scale, shift
        last = np.float32(slope.shape[1] - 1)
        run = _forward_runs_in_vectors
        jit.run(chunks, run, source, target, *tables, last, view.length, chunks)
    else:
        tables = slope.numpy(), offset.numpy(), scale, shift
        jit.run(chunks, _forward_runs, source, target, *tables, view.length, chunks)
    return y if out is y else y.copy_(out)


def backward(
    x: Tensor, grad: Tensor, table: _Table, channel_dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of a settled `x` and the two sums over each row of the table."""
    dtype = working_dtype(x)
    rows = table.slope.shape[1]
    if x.numel() == 0:
        return torch.empty_like(x), *table.slope.new_zeros(2, *table.slope.shape)
    wide, wide_grad = x.to(dtype), grad.to(dtype)
    dx = torch.empty_like(wide)
    view = _view(x, table, channel_dim)
    chunks = jit.chunks(x.numel())
    arrays = [layout.flat(t, channel_dim).numpy() for t in (wide, wide_grad, dx)]
    sums = np.zeros((chunks, table.slope.shape[0], 2, -(-rows // STRIPE) * STRIPE))
    slope, (scale, shift) = table.slope, _line(table)
    if view.length == 1:
        arrays = [a.reshape(view.outer, view.channels) for a in arrays]
        jit.run(chunks, _backward_pixels, *arrays, slope.numpy(), scale, shift, sums)
    elif _in_vectors(wide, table, view):
        last = np.float32(rows - 1)
        arrays += [_padded(slope), scale, shift]
        jit.run(chunks, _backward_runs_in_vectors, *arrays, last, sums, view.length)
    else:
        jit.run(chunks, _backward_runs, *arrays, slope.numpy(), scale, shift, sums, view.length)
    total, moment = torch.from_numpy(sums.sum(0)[..., :rows]).to(dtype).unbind(1)
    return dx.to(x.dtype), total, moment


def _view(x: Tensor, table: _Table, channel_dim: int) -> layout.View:
    """Where one table serves the whole layer, the input is one run of it."""
    if table.slope.shape[0] == 1:
        return layout.View(1, 1, x.numel())
    return layout.View.of(x, channel_dim)


def _in_vectors(x: Tensor, table: _Table, view: layout.View) -> bool:
    fits = v.SUPPORTED and table.slope.shape[1] <= VECTOR_ROWS and view.length >= v.WIDTH
    return fits and x.dtype == torch.float32


def _padded(table: Tensor) -> np.ndarray:
    return F.pad(table, (0, VECTOR_ROWS - table.shape[1])).numpy()


def _line(table: _Table) -> tuple[np.ndarray, np.ndarray]:
    return table.scale.view(-1).numpy(), table.shift.view(-1).numpy()


@compiled(parallel=True)
def _forward_runs(x, y, slope, offset, scale, shift, length, chunks):
    """Write `y`; `x` and `y` are runs of `length` elements, each of the next channel."""
    step = (x.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        start, stop = chunk * step, min(x.size, (chunk + 1) * step)
        while start < stop:
            run = start // length
            end = min(stop, (run + 1) * length)
            c = run % scale.size
            _forward_run(x[start:end], y[start:end], slope[c], offset[c], scale[c], shift[c])
            start = end


@compiled(parallel=True)
def _forward_runs_in_vectors(x, y, slope, offset, scale, shift, last, length, chunks):
    """`forward_runs` of float32; the tables are padded to `VECTOR_ROWS`, `last` is the last row."""
    step = (x.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        start, stop = chunk * step, min(x.size, (chunk + 1) * step)
        while start < stop:
            run = start // length
            end = min(stop, (run + 1) * length)
            c = run % scale.size
            _forward_run_in_vectors(
                x[start:end], y[start:end], slope[c], offset[c], scale[c], shift[c], last
            )
            start = end


@compiled(parallel=True)
def _forward_pixels(x, y, slope, offset, scale, shift, chunks):
    """Write `y`; `x` and `y` are `(pixels, channels)`."""
    step = (x.shape[0] + chunks - 1) // chunks
    for chunk in prange(chunks):
        for m in range(chunk * step, min(x.shape[0], (chunk + 1) * step)):
            _forward_pixel(x[m], y[m], slope, offset, scale, shift)


@compiled(parallel=True)
def _backward_runs(x, g, dx, slope, scale, shift, sums, length):
    """Write `dx` and add to `sums`, `(chunks, channels, 2, rows)` in float64."""
    chunks = sums.shape[0]
    step = (x.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        rows = np.empty(_BLOCK, np.int32)
        weighted = np.empty(_BLOCK, x.dtype)
        start, stop = chunk * step, min(x.size, (chunk + 1) * step)
        while start < stop:
            run = start // length
            end = min(stop, (run + 1) * length, start + _BLOCK)
            c = run % scale.size
            part = slice(start, end)
            _backward_run(x[part], g[part], dx[part], slope[c], scale[c], shift[c], rows, weighted)
            _scatter(rows, g[part], weighted, sums[chunk, c])
            start = end


@compiled(parallel=True)
def _backward_runs_in_vectors(x, g, dx, slope, scale, shift, last, sums, length):
    """`backward_runs` of float32; tables as there, `sums` padded to a multiple of `STRIPE`."""
    chunks = sums.shape[0]
    step = (x.size + chunks - 1) // chunks
    for chunk in prange(chunks):
        rows = np.empty(_BLOCK, np.int32)
        held = np.empty(_BLOCK, np.float32)
        weighted = np.empty(_BLOCK, np.float32)
        start, stop = chunk * step, min(x.size, (chunk + 1) * step)
        while start < stop:
            run = start // length
            end = min(stop, (run + 1) * length, start + _BLOCK)
            c = run % scale.size
            part = slice(start, end)
            count = _backward_run_in_vectors(
                x[part], g[part], dx[part], slope[c], scale[c], shift[c], last, rows, held, weighted
            )
            _histogram(rows, held, weighted, count, sums[chunk, c])
            start = end


@compiled(parallel=True)
def _backward_pixels(x, g, dx, slope, scale, shift, sums):
    """Write `dx` and add to `sums`, `(chunks, channels, 2, rows)` in float64."""
    chunks, channels = sums.shape[0], x.shape[1]
    step = (x.shape[0] + chunks - 1) // chunks
    for chunk in prange(chunks):
        rows = np.empty(channels, np.int32)
        weighted = np.empty(channels, x.dtype)
        for m in range(chunk * step, min(x.shape[0], (chunk + 1) * step)):
            _backward_pixel(x[m], g[m], dx[m], slope, scale, shift, rows, weighted)
            for c in range(channels):
                sums[chunk, c, 0, rows[c]] += g[m, c]
                sums[chunk, c, 1, rows[c]] += weighted[c]


@compiled()
def _forward_run(x, y, slope, offset, scale, shift):
    zero, last = x.dtype.type(0), x.dtype.type(slope.size - 1)
    for i in range(x.size):
        position = x[i] * scale + shift
        # In this order NaN becomes 0.
        position = position if position > zero else zero
        row = np.uint32(np.int32(position if position < last else last))
        y[i] = slope[row] * x[i] + offset[row]


@compiled()
def _forward_run_in_vectors(x, y, slope, offset, scale, shift, last):
    s, s16 = v.load(slope, 0), v.load(slope, v.WIDTH)
    o, o16 = v.load(offset, 0), v.load(offset, v.WIDTH)
    scales, shifts, lasts = v.splat(scale), v.splat(shift), v.splat(last)
    whole = x.size - x.size % v.WIDTH
    for i in range(0, whole, v.WIDTH):
        a = v.load(x, i)
        row = v.clamp_down(v.multiply_add(a, scales, shifts), lasts)
        v.store(y, i, v.multiply_add(v.look_up(s, row, s16), a, v.look_up(o, row, o16)))
    if whole < x.size:
        count = x.size - whole
        a = v.load_first(x, whole, count)
        row = v.clamp_down(v.multiply_add(a, scales, shifts), lasts)
        part = v.multiply_add(v.look_up(s, row, s16), a, v.look_up(o, row, o16))
        v.store_first(y, whole, count, part)


@compiled()
def _forward_pixel(x, y, slope, offset, scale, shift):
    zero, last = x.dtype.type(0), x.dtype.type(slope.shape[1] - 1)
    for c in range(x.size):
        position = x[c] * scale[c] + shift[c]
        position = position if position > zero else zero
        row = np.uint32(np.int32(position if position < last else last))
        y[c] = slope[c, row] * x[c] + offset[c, row]


@compiled()
def _backward_run(x, g, dx, slope, scale, shift, rows, weighted):
    zero, last = x.dtype.type(0), x.dtype.type(slope.size - 1)
    for i in range(x.size):
        position = x[i] * scale + shift
        within = position if position > zero else zero
        row = np.int32(within if within < last else last)
        rows[i] = row
        weighted[i] = (position - x.dtype.type(row)) * g[i]
        dx[i] = slope[np.uint32(row)] * g[i]


@compiled()
def _scatter(rows, g, weighted, sums):
    for i in range(g.size):
        row = np.uint32(rows[i])
        sums[0, row] += g[i]
        sums[1, row] += weighted[i]


@compiled()
def _backward_run_in_vectors(x, g, dx, slope, scale, shift, last, rows, held, weighted):
    """Also copy `g` to `held`, with zeros up to a whole vector; return how much that is."""
    s, s16 = v.load(slope, 0), v.load(slope, v.WIDTH)
    scales, shifts, lasts = v.splat(scale), v.splat(shift), v.splat(last)
    whole = x.size - x.size % v.WIDTH
    for i in range(0, whole, v.WIDTH):
        grad = v.load(g, i)
        position = v.multiply_add(v.load(x, i), scales, shifts)
        row = v.clamp_down(position, lasts)
        v.store(dx, i, v.multiply(v.look_up(s, row, s16), grad))
        v.store(rows, i, row)
        v.store(held, i, grad)
        v.store(weighted, i, v.multiply(v.subtract(position, v.to_floats(row)), grad))
    if whole == x.size:
        return whole
    count = x.size - whole
    grad = v.load_first(g, whole, count)
    position = v.multiply_add(v.load_first(x, whole, count), scales, shifts)
    row = v.clamp_down(position, lasts)
    v.store_first(dx, whole, count, v.multiply(v.look_up(s, row, s16), grad))
    v.store(rows, whole, row)
    v.store(held, whole, grad)
    v.store(weighted, whole, v.multiply(v.subtract(position, v.to_floats(row)), grad))
    return whole + v.WIDTH


@compiled()
def _histogram(rows, g, weighted, count, sums):
    """Add `g` and `weighted` to the sums of their rows, without a look-up: `STRIPE` rows are
    compared with every element at a time, their sums all in registers."""
    for k in range(0, sums.shape[1], STRIPE):
        a0 = a1 = a2 = a3 = a4 = a5 = v.splat(np.float32(0))
        b0 = b1 = b2 = b3 = b4 = b5 = v.splat(np.float32(0))
        for i in range(0, count, v.WIDTH):
            row, a, b = v.load(rows, i), v.load(g, i), v.load(weighted, i)
            a0, b0 = v.add_where(a0, row, k, a), v.add_where(b0, row, k, b)
            a1, b1 = v.add_where(a1, row, k + 1, a), v.add_where(b1, row, k + 1, b)
            a2, b2 = v.add_where(a2, row, k + 2, a), v.add_where(b2, row, k + 2, b)
            a3, b3 = v.add_where(a3, row, k + 3, a), v.add_where(b3, row, k + 3, b)
            a4, b4 = v.add_where(a4, row, k + 4, a), v.add_where(b4, row, k + 4, b)
            a5, b5 = v.add_where(a5, row, k + 5, a), v.add_where(b5, row, k + 5, b)
        for j, (a, b) in enumerate(((a0, b0), (a1, b1), (a2, b2), (a3, b3), (a4, b4), (a5, b5))):
            sums[0, k + j] += v.total(a)
            sums[1, k + j] += v.total(b)


@compiled()
def _backward_pixel(x, g, dx, slope, scale, shift, rows, weighted):
    zero, last = x.dtype.type(0), x.dtype.type(slope.shape[1] - 1)
    for c in range(x.size):
        position = x[c] * scale[c] + shift[c]
        within = position if position > zero else zero
        row = np.int32(within if within < last else last)
        rows[c] = row
        weighted[c] = (position - x.dtype.type(row)) * g[c]
        dx[c] = slope[c, np.uint32(row)] * g[c]
