"""PWLU for CUDA, in Triton: one pass over the input forward, one backward.

A program computes a part of one channel's elements, at any place in memory. In the backward pass
it sums `g` and `g` times the place within the interval over each row of the table in registers,
and writes the sums once; a second reduction adds the parts in their order. There are no atomics,
so equal inputs give equal bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from search_space.activations.broadcasting import working_dtype
from search_space.activations.pwlu_table import Table, parameter_gradients, tabulate
from search_space.kernels.grid import index_type, parts
from search_space.kernels.layout import MemoryView

# Values, outer slopes, bounds.
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

_BLOCK = 1024
# Smaller, because a program compares each element of a block with each row of the table.
_BACKWARD_BLOCK = 256


def forward(x: Tensor, parameters: Parameters, channel_dim: int) -> Tensor:
    """Return PWLU of a dense `x`, with its strides."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    table, view = _table(x, parameters), _view(x, parameters, channel_dim)
    each = view.outer * view.length
    size, count = parts(each, view.channels, _BLOCK)
    _forward[(view.channels, count)](
        x, y, *table, view.channels, view.length, each, size, table.slope.shape[1],
        index_type(x), _BLOCK,
    )  # fmt: skip
    return y


def backward(
    x: Tensor, grad: Tensor, parameters: Parameters, channel_dim: int
) -> tuple[Tensor, ...]:
    """Return the gradients of a dense `x` and of the parameters, in the dtype of the maths."""
    dx = torch.empty_like(x)
    table, view = _table(x, parameters), _view(x, parameters, channel_dim)
    rows = table.slope.shape[1]
    each = view.outer * view.length
    size, count = parts(each, view.channels, _BACKWARD_BLOCK)
    sums = table.slope.new_zeros(2, count, table.slope.shape[0], rows)
    if x.numel():
        _backward[(view.channels, count)](
            x, grad, dx, sums, table.slope, table.scale, table.shift,
            view.channels, view.length, each, size, rows,
            triton.next_power_of_2(rows), index_type(x), _BACKWARD_BLOCK,
        )  # fmt: skip
    total, moment = sums.sum(1)
    values = parameters[0].to(table.slope.dtype)
    return dx, *parameter_gradients(total, moment, table, values)


def _table(x: Tensor, parameters: Parameters) -> Table:
    """Return the table in the dtype of the maths, with contiguous fields: kernels index them."""
    table = tabulate(*(p.to(working_dtype(x)) for p in parameters))
    return Table(*(field.contiguous() for field in table))


def _view(x: Tensor, parameters: Parameters, channel_dim: int) -> MemoryView:
    return MemoryView.of(x, channel_dim, is_shared=parameters[0].shape[0] == 1)


@triton.jit
def _forward(
    x, y, slope, offset, scale, shift, channels, length, each, size, rows: tl.constexpr,
    kind: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    c = tl.program_id(0).to(kind)
    start = tl.program_id(1).to(kind) * size
    stop = tl.minimum(start + size, each)
    scale, shift = tl.load(scale + c), tl.load(shift + c)
    for first in range(start, stop, block):
        i = first + tl.arange(0, block)
        at = (i // length * channels + c) * length + i % length
        inside = i < stop
        a = tl.load(x + at, mask=inside, other=0.0).to(slope.dtype.element_ty)
        row = _row(a * scale + shift, rows)
        k = tl.load(slope + c * rows + row)
        b = tl.load(offset + c * rows + row)
        tl.store(y + at, (k * a + b).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    x, grad, dx, sums, slope, scale, shift, channels, length, each, size, rows: tl.constexpr,
    padded: tl.constexpr, kind: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    c = tl.program_id(0).to(kind)
    part = tl.program_id(1).to(kind)
    start = part * size
    stop = tl.minimum(start + size, each)
    scale, shift = tl.load(scale + c), tl.load(shift + c)
    column = tl.arange(0, padded)
    total = tl.zeros((padded,), slope.dtype.element_ty)
    moment = tl.zeros((padded,), slope.dtype.element_ty)
    for first in range(start, stop, block):
        i = first + tl.arange(0, block)
        at = (i // length * channels + c) * length + i % length
        inside = i < stop
        a = tl.load(x + at, mask=inside, other=0.0).to(slope.dtype.element_ty)
        g = tl.load(grad + at, mask=inside, other=0.0).to(slope.dtype.element_ty)
        position = a * scale + shift
        row = _row(position, rows)
        k = tl.load(slope + c * rows + row)
        tl.store(dx + at, (k * g).to(dx.dtype.element_ty), mask=inside)
        # `where`, not a product: infinity in one row must not become NaN in the others.
        mine = row[:, None] == column[None, :]
        weighted = (position - row.to(position.dtype)) * g
        total += tl.sum(tl.where(mine, g[:, None], 0.0), axis=0)
        moment += tl.sum(tl.where(mine, weighted[:, None], 0.0), axis=0)
    count = tl.num_programs(1)
    to = (part * channels + c) * rows + column
    tl.store(sums + to, total, mask=column < rows)
    tl.store(sums + count * channels * rows + to, moment, mask=column < rows)


@triton.jit
def _row(position, rows: tl.constexpr):
    """Return the row of the table, clamped; 0 for NaN."""
    within = tl.where(position > 0, position, 0.0)
    return tl.where(within < rows - 1, within, rows - 1).to(tl.int32)
