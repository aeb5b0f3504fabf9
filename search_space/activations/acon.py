"""The ACON family: a smooth maximum of two linear functions, with a learned switch."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from search_space.activations.learned import LearnedActivation
from search_space.activations.shape import along_channels, working_dtype
from search_space.catalog import hidden_width
from search_space.errors import BadParameter
from search_space.spec import Share

Initial = Literal["silu", "paper"]


def acon_a(x: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-A, which is Swish: `x * sigmoid(beta * x)`.

    Shapes as for `acon_c`, of which it is the case `p1 = 1, p2 = 0`.
    """
    return acon_c(x, torch.ones_like(beta), torch.zeros_like(beta), beta, channel_dim)


def acon_b(x: Tensor, p: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-B, a smooth PReLU: `(1 - p) x * sigmoid(beta (1 - p) x) + p x`.

    Shapes as for `acon_c`, of which it is the case `p1 = 1, p2 = p`.
    """
    return acon_c(x, torch.ones_like(p), p, beta, channel_dim)


def acon_c(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-C: `(p1 - p2) x * sigmoid(beta (p1 - p2) x) + p2 x`.

    The slope tends to `p1` on one side and to `p2` on the other; `beta` says how sharply
    it switches. `beta = 0` gives the line `(p1 + p2) x / 2`, a negative one a smooth minimum.

    Args:
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.
        p1: `(C,)`, `(1,)` or a scalar.
        p2: As `p1`.
        beta: As `p1`; or `(N, C)` where it differs between samples.

    Returns:
        The shape and dtype of `x`. Half precisions are computed in float32.

    Raises:
        ValueError: If `x` has another number of channels than the parameters.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, equation 6.
        https://arxiv.org/abs/2009.04759
    """
    views = (along_channels(p.to(working_dtype(x)), x, channel_dim) for p in (p1, p2, beta))
    y: Tensor = _AconC.apply(x, *views)  # type: ignore[no-untyped-call]
    return y


class _AconC(torch.autograd.Function):
    """ACON-C that keeps only its input for the backward pass.

    With `z = (p1 - p2) x`, `s = sigmoid(beta z)` and `q = s + beta z s (1 - s)`, which is the
    derivative of SiLU at `beta z`:

        dy/dx = (p1 - p2) q + p2    dy/dp1 = x q    dy/dp2 = x (1 - q)    dy/dbeta = z^2 s (1 - s)
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, p1, p2, beta)
        wide = x.to(working_dtype(x))
        difference = p1 - p2
        y = (wide * (beta * difference)).sigmoid_().mul_(difference).add_(p2).mul_(wide)
        return y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, p1, p2, beta = ctx.saved_tensors
        wide, g = x.to(p1.dtype), grad.to(p1.dtype)
        difference = p1 - p2
        scaled = wide * (beta * difference)
        gq = torch.ops.aten.silu_backward(g, scaled)
        dx = dp1 = dp2 = dbeta = None
        if ctx.needs_input_grad[0]:
            dx = (gq * difference).addcmul_(g, p2).to(x.dtype)
        if ctx.needs_input_grad[3]:
            slope = torch.ops.aten.sigmoid_backward(g, scaled.sigmoid_()).mul_(wide)
            joint = (beta * difference).shape
            dbeta = (_total(slope, wide, joint) * difference.square()).sum_to_size(beta.shape)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            first = _total(gq, wide, difference.shape)
            dp1 = first.sum_to_size(p1.shape)
            dp2 = (_total(g, wide, difference.shape) - first).sum_to_size(p2.shape)
        return dx, dp1, dp2, dbeta


def _total(a: Tensor, b: Tensor, shape: torch.Size) -> Tensor:
    """Return `a * b` summed to `shape`."""
    return (a * b).sum_to_size(shape)


class AconC(LearnedActivation):
    r"""ACON-C with a learned slope on either side and a learned switch between them.

    .. math:: f(x) = (p_1 - p_2) x \, \sigma(\beta (p_1 - p_2) x) + p_2 x

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for parameters of each channel, `layer` for one set of them.
        initial: `silu` starts as SiLU; `paper` draws both slopes from N(0, 1).

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, equation 6.
        https://arxiv.org/abs/2009.04759
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        initial: Initial = "silu",
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.p1, self.p2 = _slopes(width, initial)
        self.beta = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, self.p1, self.p2, self.beta, self.channel_dim)

    def extra_repr(self) -> str:
        return f"{self.p1.numel()}, channel_dim={self.channel_dim}"


class MetaAcon(LearnedActivation):
    r"""ACON-C whose switch is computed for each sample and channel by a small network.

    .. math::
        f(x) = (p_1 - p_2) x \, \sigma(\beta (p_1 - p_2) x) + p_2 x, \quad
        \beta = \sigma(BN_2(W_2 \, BN_1(W_1 \, \operatorname{mean}_{h,w} x + b_1) + b_2))

    There is no nonlinearity between the two layers; that is how the paper's authors have it.

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1. The mean over positions would leak the future where positions are
            tokens, so channels last is refused.
        reduction: Channels per hidden unit of the small network, of which there are at
            least 4.
        initial: The slopes start as in `AconC`. The switch lies around 1/2 then, not at 1.

    Shape:
        - Input: `(N, C, *)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input has another number of channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.3.
        https://arxiv.org/abs/2009.04759
        Differs from the authors' code in the hidden width, `max(C // r, 4)` instead of
        `max(C // r, r)`: theirs widens a narrow network as the reduction rises. Differs
        also for a single sample in training, which has no variance: it is normalised by
        the running statistics, where theirs raises an error.
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        reduction: int = 16,
        initial: Initial = "silu",
    ) -> None:
        super().__init__()
        if channel_dim != 1:
            raise BadParameter("meta_acon", "channel_dim", channel_dim, "1")
        hidden = hidden_width(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.bn2 = nn.BatchNorm1d(channels)
        self.p1, self.p2 = _slopes(channels, initial)

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, self.p1, self.p2, self.switch(x))

    def switch(self, x: Tensor) -> Tensor:
        """Return beta, `(N, C)`, between 0 and 1."""
        positions = tuple(range(2, x.dim()))
        weight = self.fc1.weight
        # Sigmoids of means are where half precision hurts, and they cost nothing in float32.
        with torch.autocast(x.device.type, enabled=False):
            mean = x.to(working_dtype(x)).mean(positions) if positions else x
            hidden = _normalise(self.bn1, self.fc1(mean.to(weight.dtype)))
            return torch.sigmoid(_normalise(self.bn2, self.fc2(hidden)))


def _normalise(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Return `norm(x)`; a lone sample is normalised by the running statistics in training."""
    if norm.training and x.shape[0] == 1:
        statistics = norm.running_mean, norm.running_var
        return F.batch_norm(x, *statistics, norm.weight, norm.bias, training=False, eps=norm.eps)
    y: Tensor = norm(x)
    return y


def _slopes(width: int, initial: Initial) -> tuple[nn.Parameter, nn.Parameter]:
    """Return `p1` and `p2`, each `(width,)`."""
    if initial == "paper":
        return nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
    return nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
