"""The ACON family: a smooth maximum of two linear functions, with a learned switch."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.activations.network import (
    mean_over_positions,
    normalise,
    require_channels_first,
)
from search_space.catalog.entry import hidden_width
from search_space.spec import Share

Initial = Literal["silu", "paper"]
Nearest = Literal["silu", "relu", "gelu", "paper"]

# The switch at which ACON-C with slopes 1 and 0 is nearest to a function. For ReLU the error is at
# most 0.03; a sharper switch hardly learns.
_SWITCHES = {"silu": 1.0, "relu": 10.0, "gelu": 1.702, "paper": 1.0}


def acon_a(x: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-A, which is Swish: `x * sigmoid(beta * x)`. Shapes as for `acon_c`."""
    return acon_c(x, *acon_a_parameters(beta), channel_dim)


def acon_b(x: Tensor, p: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-B, a smooth PReLU: `(1 - p) x * sigmoid(beta (1 - p) x) + p x`.

    Shapes as for `acon_c`.
    """
    return acon_c(x, *acon_b_parameters(p, beta), channel_dim)


def acon_a_parameters(beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `p1`, `p2` and `beta` with which ACON-C is ACON-A."""
    return torch.ones_like(beta), torch.zeros_like(beta), beta


def acon_b_parameters(p: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `p1`, `p2` and `beta` with which ACON-C is ACON-B."""
    return torch.ones_like(p), p, beta


def acon_c(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    r"""ACON-C: `(p1 - p2) x * sigmoid(beta (p1 - p2) x) + p2 x`.

    The slope tends to `p1` on one side and to `p2` on the other; `beta` is the sharpness of the
    switch between them. `beta = 0` gives the line `(p1 + p2) x / 2`, a negative `beta` a smooth
    minimum.

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
        # One temporary tensor: every step after the first product is in place.
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
        # A needless gradient of the parameters would cost a pass over the input.
        dx = dp1 = dp2 = dbeta = None
        if ctx.needs_input_grad[0]:
            dx = (gq * difference).addcmul_(g, p2).to(x.dtype)
        if ctx.needs_input_grad[3]:
            slope = torch.ops.aten.sigmoid_backward(g, scaled.sigmoid_()).mul_(wide)
            # A switch may be `(N, C)` where the slopes are `(C,)`: sum to what both broadcast to,
            # multiply there, and only then sum over samples.
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
        initial: `silu` starts as SiLU, `relu` and `gelu` near these; `paper` draws both slopes
            from N(0, 1).

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
        initial: Nearest = "silu",
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.p1, self.p2 = _slopes(width, initial)
        self.beta = nn.Parameter(torch.full((width,), _SWITCHES[initial]))

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)

    def acon_c_parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return `p1`, `p2` and `beta`."""
        return self.p1, self.p2, self.beta

    def extra_repr(self) -> str:
        return f"{self.p1.numel()}, channel_dim={self.channel_dim}"


class MetaAcon(LearnedActivation):
    r"""ACON-C whose switch is computed from the input.

    .. math::
        f(x) = (p_1 - p_2) x \, \sigma(\beta (p_1 - p_2) x) + p_2 x, \quad
        \beta = \sigma(BN_2(W_2 \, BN_1(W_1 \, \operatorname{mean}_{h,w} x + b_1) + b_2))

    That is the switch of each channel. There is no nonlinearity between the two layers, as in
    the paper's authors' code. The switch of the layer is the sigmoid of the sum over channels
    and positions; the switch of each pixel is the sigmoid of the input there. Neither has a
    small network.

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1. The mean over positions would leak the future where positions are
            tokens, so channels last is refused.
        reduction: Channels per hidden unit of the small network.
        switch: `channel`, `layer` or `pixel`: what has its own switch in each sample.
        norm: `batch`, `layer` or `none`, after each of the two layers of the small network.
            `layer` and `none` depend on one sample alone.
        rule: `at_least_4` for a hidden width of `max(C // r, 4)`, `official` for the
            authors' `max(C // r, r)`, which widens a narrow network as the reduction rises.
        initial: The slopes start as in `AconC`. The switch then is around 1/2, not at 1.

    Shape:
        - Input: `(N, C, *)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input has another number of channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.3.
        https://arxiv.org/abs/2009.04759
        Differs from the authors' code by default in the hidden width, see `rule`. Differs
        also for a single sample in training, which has no variance: it is normalised by
        the running statistics, where theirs raises an error.
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        reduction: int = 16,
        switch: Literal["channel", "layer", "pixel"] = "channel",
        norm: Literal["batch", "layer", "none"] = "batch",
        rule: Literal["at_least_4", "official"] = "at_least_4",
        initial: Initial = "silu",
    ) -> None:
        super().__init__()
        require_channels_first("meta_acon", channel_dim)
        self.each = switch
        if switch == "channel":
            hidden = hidden_width(channels, reduction, rule)
            kind = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}[norm]
            self.fc1 = nn.Linear(channels, hidden)
            self.bn1 = kind(hidden)
            self.fc2 = nn.Linear(hidden, channels)
            self.bn2 = kind(channels)
        self.p1, self.p2 = _slopes(channels, initial)

    def forward(self, x: Tensor) -> Tensor:
        if self.each == "pixel":
            # Each element has a switch, and `acon_c` broadcasts only over channels and samples.
            wide = x.to(working_dtype(x))
            p1, p2 = (along_channels(p.to(wide.dtype), x, 1) for p in (self.p1, self.p2))
            return switched(wide, p1, p2, torch.sigmoid(wide)).to(x.dtype)
        return acon_c(x, self.p1, self.p2, self.switch(x))

    def switch(self, x: Tensor) -> Tensor:
        """Return beta, between 0 and 1: `(N, C)`, `(N, 1)` or the shape of `x`."""
        if self.each == "pixel":
            return torch.sigmoid(x)
        if self.each == "layer":
            return torch.sigmoid(x.to(working_dtype(x)).flatten(1).sum(1, keepdim=True))
        # Half precision loses most in sigmoids of means, and they cost nothing in float32.
        with torch.autocast(x.device.type, enabled=False):
            hidden = self.fc1(mean_over_positions(x).to(self.fc1.weight.dtype))
            return torch.sigmoid(normalise(self.bn2, self.fc2(normalise(self.bn1, hidden))))

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:
        if inputs is None or self.each == "pixel":
            return self(x)  # type: ignore[no-any-return]
        # The function differs between samples; this is the one of the mean switch.
        return acon_c(x, self.p1, self.p2, self.switch(inputs).mean(0))


def switched(wide: Tensor, p1: Tensor, p2: Tensor, beta: Tensor) -> Tensor:
    """Return ACON-C of parameters that broadcast over `wide`, with torch's own gradients."""
    z = (p1 - p2) * wide
    return z * torch.sigmoid(beta * z) + p2 * wide


def _slopes(width: int, initial: Nearest) -> tuple[nn.Parameter, nn.Parameter]:
    """Return `p1` and `p2`, each `(width,)`."""
    if initial == "paper":
        return nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
    return nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
