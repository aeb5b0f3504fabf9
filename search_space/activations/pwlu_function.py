"""PWLU as a function of torch, with gradients by hand."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_space.activations.broadcasting import require_channels, working_dtype
from search_space.activations.pwlu_table import Table, parameter_gradients, tabulate

# Below this many positions a table for each sample and channel would be larger than the input.
_FEW_POSITIONS = 32

# Elements computed at a time, so that their temporary tensors stay in the caches.
_PIECE = 1 << 18


def pwlu(
    x: Tensor,
    values: Tensor,
    left_slope: Tensor,
    right_slope: Tensor,
    left: Tensor,
    right: Tensor,
    channel_dim: int = 1,
) -> Tensor:
    r"""The piecewise linear unit.

    With `d = (right - left) / N`, `B_i = left + i d` and `K_i = (Y_{i+1} - Y_i) / d`:

    .. math:: f(x) = \begin{cases}
        Y_0 + (x - B_0) K_L & x < B_0 \\
        Y_i + (x - B_i) K_i & B_i \le x < B_{i+1} \\
        Y_N + (x - B_N) K_R & x \ge B_N
        \end{cases}

    All arguments have gradients, also the bounds, which stretch the intervals.

    Args:
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.
        values: The function's values Y at the knots, `(C, N+1)` or `(1, N+1)`.
        left_slope: Slope left of the first knot, `(C,)` or `(1,)`.
        right_slope: Slope right of the last knot, `(C,)` or `(1,)`.
        left: The first knot, `(C,)` or `(1,)`.
        right: The last knot, `(C,)` or `(1,)`. Where it lies less than `MIN_WIDTH` right of
            `left`, that width is used. The gradients are those of the bounds as used, so
            training may separate them again.

    Either all parameters are those of the channels, or all are those of the layer.

    Returns:
        The shape and dtype of `x`. Half precisions are computed in float32.

    Raises:
        ValueError: If `x` has another number of channels than the parameters.

    Source:
        Zhou, Zhu and Zhong, *Learning Specialized Activation Functions with the Piecewise
        Linear Unit*, 2021, section 3.1. https://arxiv.org/abs/2104.03693
    """
    require_channels(values.shape[0], x, channel_dim)
    y: Tensor = _PWLU.apply(  # type: ignore[no-untyped-call]
        x, values, left_slope, right_slope, left, right, channel_dim
    )
    return y


class _InputShape(NamedTuple):
    """The shape in which an input is computed: `(N, C, L)` in memory order, or `(M, C)`.

    Tables are gathered from along dimension `dim`. Then each run of the gathering, and of the
    sums in the backward pass, stays within one small table, and no two threads share one.

    Attributes:
        rows: The shape is `(N, C, L)`.
    """

    rows: bool
    dim: int

    @staticmethod
    def of(x: Tensor, channel_dim: int) -> "_InputShape":
        rows = channel_dim == 1 and x.dim() > 2 and x.is_contiguous()
        # With few positions the expanded tables would cost more than moving the channels last.
        rows = rows and math.prod(x.shape[2:]) >= _FEW_POSITIONS
        return _InputShape(rows, 2 if rows else 0)

    def flat(self, x: Tensor, channel_dim: int) -> Tensor:
        """Return the input in this shape."""
        if self.rows:
            return x.flatten(2)
        moved = x.movedim(channel_dim, -1)
        return moved.reshape(-1, moved.shape[-1])

    def unflat(self, y: Tensor, like: Tensor, channel_dim: int) -> Tensor:
        """Return a result of this shape in the shape of the input `like`."""
        if self.rows:
            return y.view(like.shape)
        return y.view(like.movedim(channel_dim, -1).shape).movedim(-1, channel_dim)

    def column(self, parameter: Tensor) -> Tensor:
        """Return a `(C, 1)` parameter so that it broadcasts over the flat input."""
        return parameter if self.rows else parameter.t()

    def table(self, table: Tensor, flat: Tensor) -> Tensor:
        """Return a `(C, K)` table, expanded so that an index of the flat input's shape fits it."""
        if self.rows:
            return table.expand(flat.shape[0], flat.shape[1], -1)
        return table.expand(flat.shape[1], -1).t()

    def sums(self, source: Tensor, index: Tensor, like: Tensor) -> Tensor:
        """Sum `source` by channel and row of the table, to the shape of the `(C, K)` `like`."""
        shape = self.table(like, source).shape
        total = source.new_zeros(shape).scatter_add_(self.dim, index, source)
        return (total.sum(0) if self.rows else total.t()).sum_to_size(like.shape)


class _PWLU(torch.autograd.Function):
    """PWLU that keeps only its input for the backward pass, and finds the rows again there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Any) -> Tensor:
        *tensors, channel_dim = parameters
        ctx.save_for_backward(x, *tensors)
        ctx.channel_dim = channel_dim
        dtype = working_dtype(x)
        table, view = tabulate(*(p.to(dtype) for p in tensors)), _InputShape.of(x, channel_dim)
        flat = view.flat(x, channel_dim)
        y = torch.empty_like(flat)
        for piece in _pieces(flat):
            part = flat[piece].to(dtype)
            row = _rows(_position(part, table, view), table)
            slope, offset = (view.table(t, part) for t in (table.slope, table.offset))
            product = slope.gather(view.dim, row).mul_(part)
            y[piece] = product.add_(offset.gather(view.dim, row))
        return view.unflat(y, x, channel_dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        dtype = working_dtype(x)
        wide = [p.to(dtype) for p in parameters]
        table, view = tabulate(*wide), _InputShape.of(x, ctx.channel_dim)
        flat, flat_grad = (view.flat(t, ctx.channel_dim) for t in (x, grad))
        dx = torch.empty_like(flat)
        total, moment = torch.zeros_like(table.slope), torch.zeros_like(table.slope)
        for piece in _pieces(flat):
            part, g = flat[piece].to(dtype), flat_grad[piece].to(dtype)
            position = _position(part, table, view)
            row = _rows(position, table)
            # Counted from the row, not from the table: a small number keeps more digits in sums.
            weighted = position.sub_(row).mul_(g)
            dx[piece] = view.table(table.slope, part).gather(view.dim, row).mul_(g)
            total += view.sums(g, row, table.slope)
            moment += view.sums(weighted, row, table.slope)
        gradients = parameter_gradients(total, moment, table, wide[0])
        dx = view.unflat(dx, x, ctx.channel_dim)
        return dx, *(d.to(p.dtype) for d, p in zip(gradients, parameters, strict=True)), None


def _pieces(flat: Tensor) -> Iterator[slice]:
    """Cut the first dimension so that the temporary tensors of a piece stay in the caches.

    The allocator would map and unmap each temporary tensor as large as the input, which costs
    several times the arithmetic.
    """
    if torch.compiler.is_compiling():
        # A compiler fuses the steps, and must not specialise on the batch size.
        yield slice(None)
        return
    each = max(1, _PIECE * flat.shape[0] // max(1, flat.numel()))
    for start in range(0, flat.shape[0], each):
        yield slice(start, start + each)


def _position(flat: Tensor, table: Table, view: _InputShape) -> Tensor:
    """Return the place of each input in the table, in intervals, from 1 at the first knot."""
    return torch.addcmul(view.column(table.shift), flat, view.column(table.scale))


def _rows(position: Tensor, table: Table) -> Tensor:
    """Return the row of each position.

    The position is clamped first, because a large one does not fit an integer. The integer is
    clamped again, because NaN becomes an arbitrary integer; the output of NaN is NaN anyway.
    """
    last = table.slope.shape[1] - 1
    return position.clamp(0, last).to(torch.int64).clamp_(0, last)
