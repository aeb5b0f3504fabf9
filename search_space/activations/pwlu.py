"""PWLU: a piecewise linear function on equal intervals, with learned values and bounds."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from search_space.activations.learned import PhasedActivation, keep_in_graph
from search_space.activations.pwlu_function import pwlu
from search_space.activations.pwlu_table import MIN_WIDTH
from search_space.activations.scalar_functions import derivative, scalar_function
from search_space.spec import Share

__all__ = ["PWLU", "START_BOUND", "pwlu"]

# Bounds of a table that has seen no data, in units of its input.
START_BOUND = 3.0

# Weight of the newest batch in the running statistics.
_MOMENTUM = 0.1


class PWLU(PhasedActivation):
    r"""Piecewise linear unit with learned values, outer slopes and bounds; see `pwlu`.

    It has two phases. First it computes its start function exactly, and in training collects
    the mean and the standard deviation of its input. `realign` then sets the bounds to three
    deviations around the mean and the table to the function; after that all parameters train.
    The phase is a buffer, so a checkpoint contains it.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        segments: Number N of equal intervals between the bounds.
        share: `channel` for a table of each channel, `layer` for one table.
        initial: Name of the function it starts as: any function of one number in the catalogue
            without learned parameters, at its defaults.
        bounds: A positive X for fixed first bounds `[-X, X]` and no statistics phase.
        snap_zero: Move the realigned bounds by up to half an interval, so that 0 is a knot
            and a start as ReLU stays exact. Otherwise ReLU is off by up to a quarter interval.

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
        # A copy of the phase for `forward`: reading the buffer there would wait for the device.
        self._collecting = True
        # Mean, variance and size of each part of the current batch; None: a batch is one pass.
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
        # DDP and optimizers need a gradient of every parameter in every step.
        return keep_in_graph(self._start(x), *self.parameters())

    def _compute(self, x: Tensor) -> Tensor:
        """Return the function of the table, after the statistics phase."""
        table = (self.values, self.left_slope, self.right_slope, self.left, self.right)
        return pwlu(x, *table, channel_dim=self.channel_dim)

    @torch.no_grad()
    def realign(self, *, alone: bool = False) -> None:
        """Fit bounds, table and outer slopes to the statistics, in place; then they train.

        Without statistics the bounds stay as constructed. A second call changes nothing. Under
        torch.distributed every rank must call it, because their statistics are averaged, unless
        it is `alone`.
        """
        if not self._collecting:
            return
        mean, deviation, batches = self._gathered(alone=alone)
        if batches > 0:
            # The running averages start at 0; this is the weight that batches have in them.
            debias = 1 - (1 - _MOMENTUM) ** batches
            mean, reach = mean / debias, 3 * deviation / debias
            # A constant channel still needs two bounds that differ as floating numbers.
            reach = reach.clamp_min(MIN_WIDTH).maximum(1e-3 * mean.abs())
            self._fit(*self._snapped(mean - reach, mean + reach))
        self._enter_training()

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        """Add a batch, or a part of one, to the statistics."""
        if x.numel() == 0:
            return
        x = x.to(torch.float32)
        channel = self.channel_dim % x.dim()
        dims = [d for d in range(x.dim()) if self.mean.numel() == 1 or d != channel]
        mean = x.mean(dims, keepdim=True)
        # Two passes are as exact as `torch.var_mean`, and were ten times as fast on a CPU.
        variance = (x - mean).square_().mean(dims).view(self.mean.shape)
        mean = mean.view(self.mean.shape)
        if self._parts is None:
            self._update(mean, variance)
        else:
            self._parts.append((mean, variance, x.numel()))

    def gather_parts(self) -> None:
        self._parts = []

    @torch.no_grad()
    def end_batch(self) -> None:
        if not self._parts:
            return
        # Variance of the whole: mean of the variances, plus variance of the means.
        total = sum(size for _, _, size in self._parts)
        shares = [(mean, variance, size / total) for mean, variance, size in self._parts]
        mean = torch.stack([share * mean for mean, _, share in shares]).sum(0)
        within = [share * (variance + (m - mean).square()) for m, variance, share in shares]
        self._update(mean, torch.stack(within).sum(0))
        self._parts.clear()

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running mean and standard deviation with one batch."""
        self.mean.lerp_(mean.to(self.mean.dtype), _MOMENTUM)
        self.deviation.lerp_(variance.sqrt_().to(self.mean.dtype), _MOMENTUM)
        self.batches.add_(1)

    def _gathered(self, *, alone: bool) -> tuple[Tensor, Tensor, float]:
        """Return the running mean and deviation and the number of batches, over all ranks."""
        # One tensor, so one collective call; in float64, as the number of batches is in it.
        packed = torch.cat([self.mean, self.deviation, self.batches.view(1)]).double()
        if not alone and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(packed)
            packed /= distributed.get_world_size()
        mean, deviation = packed[:-1].chunk(2)
        return mean, deviation, packed[-1].item()

    def _snapped(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds, moved so that 0 is a knot if `snap_zero` and 0 lies between them."""
        if not self.snap_zero:
            return left, right
        step = (right - left) / (self.values.shape[1] - 1)
        crosses = (left < 0) & (right > 0)
        # The knot nearest to 0: the distance to move both bounds by.
        off = torch.where(crosses, left - step * (left / step).round(), 0.0)
        return left - off, right - off

    @torch.no_grad()
    def _fit(self, left: Tensor, right: Tensor) -> None:
        """Set the table to the start function between the bounds, and to its slopes outside."""
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
        # The buffer has been loaded, so the copy of the phase must follow.
        self._collecting = not bool(self.phase)

    def extra_repr(self) -> str:
        width, knots = self.values.shape
        phase = "collecting" if self._collecting else "training"
        return f"{width}, segments={knots - 1}, channel_dim={self.channel_dim}, {phase}"
