"""PWLU: a piecewise linear function on equal intervals, with learned values and bounds."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

from search_space.activations.learned import PhasedActivation, held
from search_space.activations.pwlu_table import MIN_WIDTH, Table, parameter_gradients, tabulate
from search_space.activations.shape import working_dtype
from search_space.activations.starts import derivative, scalar_function
from search_space.spec import Share

# Bounds of a table that has seen no data, in units of its input.
START_BOUND = 3.0

# Below this many positions a table for each sample and channel would outweigh the input.
_FEW_POSITIONS = 32

# Elements computed at a time.
_PIECE = 1 << 18

_MOMENTUM = 0.1


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

    Everything has its gradient, the bounds included: they stretch the intervals.

    Args:
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.
        values: The function's values Y at the knots, `(C, N+1)` or `(1, N+1)`.
        left_slope: Slope left of the first knot, `(C,)` or `(1,)`.
        right_slope: Slope right of the last knot, `(C,)` or `(1,)`.
        left: The first knot, `(C,)` or `(1,)`.
        right: The last knot, `(C,)` or `(1,)`. Where it lies less than `MIN_WIDTH` right of
            `left`, that width is used; the gradients are those of the bounds as used, so
            they may part again.

    The parameters are all of the channels, or all of the layer.

    Returns:
        The shape and dtype of `x`. Half precisions are computed in float32.

    Raises:
        ValueError: If `x` has another number of channels than the parameters.

    Source:
        Zhou, Zhu and Zhong, *Learning Specialized Activation Functions with the Piecewise
        Linear Unit*, 2021, section 3.1. https://arxiv.org/abs/2104.03693
    """
    if values.shape[0] not in (1, x.shape[channel_dim]):
        raise ValueError(
            f"the table is for {values.shape[0]} channels, but dimension {channel_dim} of the "
            f"input of shape {tuple(x.shape)} has {x.shape[channel_dim]}"
        )
    y: Tensor = _PWLU.apply(  # type: ignore[no-untyped-call]
        x, values, left_slope, right_slope, left, right, channel_dim
    )
    return y


class _View(NamedTuple):
    """How an input is looked at: as `(N, C, L)` in memory order, or as `(M, C)`.

    A table is looked up along dimension `dim`, so that every run of the look-up and of the
    sums in the backward pass stays within one small table and no two threads share one.
    """

    rows: bool
    dim: int

    @staticmethod
    def of(x: Tensor, channel_dim: int) -> "_View":
        rows = channel_dim == 1 and x.dim() > 2 and x.is_contiguous()
        rows = rows and math.prod(x.shape[2:]) >= _FEW_POSITIONS
        return _View(rows, 2 if rows else 0)

    def flat(self, x: Tensor, channel_dim: int) -> Tensor:
        if self.rows:
            return x.flatten(2)
        moved = x.movedim(channel_dim, -1)
        return moved.reshape(-1, moved.shape[-1])

    def unflat(self, y: Tensor, like: Tensor, channel_dim: int) -> Tensor:
        if self.rows:
            return y.view(like.shape)
        return y.view(like.movedim(channel_dim, -1).shape).movedim(-1, channel_dim)

    def column(self, parameter: Tensor) -> Tensor:
        """A `(C, 1)` parameter, to meet the flat input."""
        return parameter if self.rows else parameter.t()

    def table(self, table: Tensor, flat: Tensor) -> Tensor:
        """A `(C, K)` table, to be gathered from by an index of the flat input's shape."""
        if self.rows:
            return table.expand(flat.shape[0], flat.shape[1], -1)
        return table.expand(flat.shape[1], -1).t()

    def sums(self, source: Tensor, index: Tensor, like: Tensor) -> Tensor:
        """Sum `source` by channel and row of the table, to the shape of the `(C, K)` `like`."""
        shape = self.table(like, source).shape
        total = source.new_zeros(shape).scatter_add_(self.dim, index, source)
        return (total.sum(0) if self.rows else total.t()).sum_to_size(like.shape)


class _PWLU(torch.autograd.Function):
    """PWLU that keeps only its input for the backward pass, and finds the rows anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Any) -> Tensor:
        *tensors, channel_dim = parameters
        ctx.save_for_backward(x, *tensors)
        ctx.channel_dim = channel_dim
        dtype = working_dtype(x)
        table, view = tabulate(*(p.to(dtype) for p in tensors)), _View.of(x, channel_dim)
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
        table, view = tabulate(*wide), _View.of(x, ctx.channel_dim)
        flat, flat_grad = (view.flat(t, ctx.channel_dim) for t in (x, grad))
        dx = torch.empty_like(flat)
        total, moment = torch.zeros_like(table.slope), torch.zeros_like(table.slope)
        for piece in _pieces(flat):
            part, g = flat[piece].to(dtype), flat_grad[piece].to(dtype)
            position = _position(part, table, view)
            row = _rows(position, table)
            # The place within the row, not in the table: the sums lose no digits to it.
            weighted = position.sub_(row).mul_(g)
            dx[piece] = view.table(table.slope, part).gather(view.dim, row).mul_(g)
            total += view.sums(g, row, table.slope)
            moment += view.sums(weighted, row, table.slope)
        gradients = parameter_gradients(total, moment, table, wide[0])
        dx = view.unflat(dx, x, ctx.channel_dim)
        return dx, *(d.to(p.dtype) for d, p in zip(gradients, parameters, strict=True)), None


def _pieces(flat: Tensor) -> Iterator[slice]:
    """Cut the first dimension so that what is computed of a piece stays in the caches.

    Temporary tensors as large as the input would each be mapped and unmapped by the
    allocator, which costs several times the arithmetic.
    """
    if torch.compiler.is_compiling():
        # A compiler fuses what is cut here, and must not fix the batch size for it.
        yield slice(None)
        return
    each = max(1, _PIECE * flat.shape[0] // max(1, flat.numel()))
    for start in range(0, flat.shape[0], each):
        yield slice(start, start + each)


def _position(flat: Tensor, table: Table, view: _View) -> Tensor:
    """Where in the table the input falls, in intervals from one interval left of the knots."""
    return torch.addcmul(view.column(table.shift), flat, view.column(table.scale))


def _rows(position: Tensor, table: Table) -> Tensor:
    """The row of each position.

    The position is clamped first, because a large one does not fit an integer; the integer
    is clamped again, because NaN has become an arbitrary one. Its output is NaN anyway.
    """
    last = table.slope.shape[1] - 1
    return position.clamp(0, last).to(torch.int64).clamp_(0, last)


class PWLU(PhasedActivation):
    r"""Piecewise linear unit with learned values, outer slopes and bounds; see `pwlu`.

    It has two phases. First it computes the function it starts as, exactly, and in training
    watches the mean and the standard deviation of its input. `realign` then puts the bounds
    three deviations around the mean and the table on the function, and from there on
    everything trains. The phase is a buffer, so a checkpoint carries it.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        segments: Number N of equal intervals between the bounds.
        share: `channel` for a table of each channel, `layer` for one table.
        initial: Name of the function it starts as: any of the catalogue that takes one number
            and of which nothing is learned, at its defaults.
        bounds: A positive X for fixed first bounds `[-X, X]` and no statistics phase.
        snap_zero: Move the realigned bounds by up to half an interval, so that 0 is a knot
            and a start as ReLU stays exact. Otherwise it is off by up to a quarter interval.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Zhou, Zhu and Zhong, *Learning Specialized Activation Functions with the Piecewise
        Linear Unit*, 2021, section 3. https://arxiv.org/abs/2104.03693
        Differs from the paper in that the running averages are debiased, and in the outer
        slopes, which are the function's own at the bounds: the paper's 0 and 1 are those of
        ReLU only while 0 lies between the bounds.
    """

    phase: Tensor
    batches: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        segments: int = 16,
        share: Share = "channel",
        initial: str = "relu",
        bounds: float | None = None,
        snap_zero: bool = False,
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.initial = initial
        self._start = scalar_function(initial)
        self.snap_zero = snap_zero
        self.values = nn.Parameter(torch.empty(width, segments + 1))
        self.left_slope = nn.Parameter(torch.empty(width))
        self.right_slope = nn.Parameter(torch.empty(width))
        self.left = nn.Parameter(torch.empty(width))
        self.right = nn.Parameter(torch.empty(width))
        self.register_buffer("phase", torch.tensor(0))
        self.register_buffer("batches", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.zeros(width))
        # The phase again, for `forward`: to read the buffer there would wait for the device.
        self._collecting = True
        # Mean, variance and size of each part of the batch that is being seen, where it has any.
        self._parts: list[tuple[Tensor, Tensor, int]] | None = None
        limit = torch.full((width,), START_BOUND if bounds is None else float(bounds))
        self._fit(-limit, limit)
        if bounds is not None:
            self._enter_training()

    @property
    def collecting(self) -> bool:
        return self._collecting

    def forward(self, x: Tensor) -> Tensor:
        if not self._collecting:
            return self._compute(x)
        if self.training:
            self._observe(x.detach())
        return held(self._start(x), *self.parameters())

    def _compute(self, x: Tensor) -> Tensor:
        """The function, once it is realigned."""
        table = (self.values, self.left_slope, self.right_slope, self.left, self.right)
        return pwlu(x, *table, channel_dim=self.channel_dim)

    @torch.no_grad()
    def realign(self, *, alone: bool = False) -> None:
        """Fit bounds, table and outer slopes to the statistics, in place; then all train.

        Without statistics the bounds stay as constructed. A second call changes nothing.
        Under torch.distributed every rank must call it, as their statistics are averaged, unless
        it is `alone`.
        """
        if not self._collecting:
            return
        mean, deviation, batches = self._gathered(alone=alone)
        if batches > 0:
            debias = 1 - (1 - _MOMENTUM) ** batches
            mean, reach = mean / debias, 3 * deviation / debias
            # A channel that never varies still needs bounds that are numbers apart.
            reach = reach.clamp_min(MIN_WIDTH).maximum(1e-3 * mean.abs())
            self._fit(*self._snapped(mean - reach, mean + reach))
        self._enter_training()

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        """Take in what goes through: a batch, or a part of one."""
        if x.numel() == 0:
            return
        x = x.to(torch.float32)
        channel = self.channel_dim % x.dim()
        dims = [d for d in range(x.dim()) if self.mean.numel() == 1 or d != channel]
        mean = x.mean(dims, keepdim=True)
        # Two passes are as exact as `torch.var_mean`, and ten times as fast on a CPU.
        variance = (x - mean).square_().mean(dims).view(self.mean.shape)
        mean = mean.view(self.mean.shape)
        if self._parts is None:
            self._move(mean, variance)
        else:
            self._parts.append((mean, variance, x.numel()))

    def gather_parts(self) -> None:
        self._parts = []

    @torch.no_grad()
    def end_batch(self) -> None:
        if not self._parts:
            return
        total = sum(size for _, _, size in self._parts)
        shares = [(mean, variance, size / total) for mean, variance, size in self._parts]
        mean = torch.stack([share * mean for mean, _, share in shares]).sum(0)
        within = [share * (variance + (m - mean).square()) for m, variance, share in shares]
        self._move(mean, torch.stack(within).sum(0))
        self._parts.clear()

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running mean and standard deviation by one batch."""
        self.mean.lerp_(mean.to(self.mean.dtype), _MOMENTUM)
        self.deviation.lerp_(variance.sqrt_().to(self.mean.dtype), _MOMENTUM)
        self.batches.add_(1)

    def _gathered(self, *, alone: bool) -> tuple[Tensor, Tensor, float]:
        """Return the running mean and deviation and the number of batches, over all ranks."""
        packed = torch.cat([self.mean, self.deviation, self.batches.view(1)]).double()
        if not alone and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(packed)
            packed /= distributed.get_world_size()
        mean, deviation = packed[:-1].chunk(2)
        return mean, deviation, packed[-1].item()

    def _snapped(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Move the bounds so that 0 is a knot, where asked for and where 0 is between them."""
        if not self.snap_zero:
            return left, right
        step = (right - left) / (self.values.shape[1] - 1)
        crosses = (left < 0) & (right > 0)
        # How far the knot nearest to 0 is from it.
        off = torch.where(crosses, left - step * (left / step).round(), 0.0)
        return left - off, right - off

    @torch.no_grad()
    def _fit(self, left: Tensor, right: Tensor) -> None:
        """Put the table on the function between the bounds, and its slopes outside."""
        place = torch.linspace(0, 1, self.values.shape[1], device=left.device, dtype=left.dtype)
        knots = torch.lerp(left.unsqueeze(1), right.unsqueeze(1), place)
        self.left.copy_(left)
        self.right.copy_(right)
        self.values.copy_(self._start(knots))
        self.left_slope.copy_(derivative(self._start, left))
        self.right_slope.copy_(derivative(self._start, right))

    def _enter_training(self) -> None:
        self.phase.fill_(1)
        self._collecting = False

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._collecting = not bool(self.phase)

    def extra_repr(self) -> str:
        width, knots = self.values.shape
        phase = "collecting" if self._collecting else "training"
        return f"{width}, segments={knots - 1}, channel_dim={self.channel_dim}, {phase}"
