"""Rectifiers with learned parameters."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.spec import Share


class PReLU(LearnedActivation):
    r"""Rectifier with a learned slope below 0.

    .. math:: f(x) = \max(x, 0) + a \min(x, 0)

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for a slope of each channel, `layer` for one.
        slope: First value of a.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        He, Zhang, Ren and Sun, *Delving Deep into Rectifiers*, 2015.
        https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        slope: float = 0.25,
    ) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.weight = nn.Parameter(torch.full((channels if share == "channel" else 1,), slope))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        slope = along_channels(self.weight.to(wide.dtype), x, self.channel_dim)
        return torch.where(wide > 0, wide, slope * wide).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, channel_dim={self.channel_dim}"


class StarReLU(LearnedActivation):
    r"""Squared rectifier with a learned scale and offset.

    .. math:: f(x) = s \max(x, 0)^2 + b

    It starts at s = 0.8944 and b = -0.4472, where a normal input gives mean 0 and variance 1.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `layer` for one scale and one offset, as in the paper; `channel` for each.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Yu et al., *MetaFormer Baselines for Vision*, 2022. https://arxiv.org/abs/2210.13452
        Differs from the authors' code in the start, which is s = 1 and b = 0 there.
    """

    def __init__(self, channels: int, *, channel_dim: int = 1, share: Share = "layer") -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.scale = nn.Parameter(torch.full((width,), 0.8944))
        self.bias = nn.Parameter(torch.full((width,), -0.4472))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        scale, bias = (
            along_channels(p.to(wide.dtype), x, self.channel_dim) for p in (self.scale, self.bias)
        )
        return torch.addcmul(bias, scale, wide.relu().square()).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.scale.numel()}, channel_dim={self.channel_dim}"


class XIELU(LearnedActivation):
    r"""The integral of a line above 0 and of a shifted ELU below 0, with learned slopes.

    .. math::
        f(x) = \tfrac{x}{2} + a_p \max(x, 0)^2 + a_n (e^{\min(x, 0)} - 1 - \min(x, 0)), \quad
        a_p = \log(1 + e^{\alpha_p}), \; a_n = \tfrac12 + \log(1 + e^{\alpha_n})

    Both `a_p` and `a_n` start at 0.8.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `layer` for one pair, as in the paper; `channel` for a pair of each channel.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Huang and Schlag, *Deriving Activation Functions Using Integration*, 2024.
        https://arxiv.org/abs/2411.13010
        Differs from the authors' code below 0 by less than a millionth: theirs bounds the
        exponent by -1e-6.
    """

    def __init__(self, channels: int, *, channel_dim: int = 1, share: Share = "layer") -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        # log(e^a - 1) is the inverse of softplus at a.
        self.alpha_p = nn.Parameter(torch.full((width,), math.log(math.expm1(0.8))))
        self.alpha_n = nn.Parameter(torch.full((width,), math.log(math.expm1(0.3))))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        positive, negative = (
            along_channels(F.softplus(p.to(wide.dtype)), x, self.channel_dim)
            for p in (self.alpha_p, self.alpha_n)
        )
        below = wide.clamp_max(0)
        curve = (0.5 + negative) * (torch.expm1(below) - below)
        return (curve + positive * wide.relu().square() + 0.5 * wide).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.alpha_p.numel()}, channel_dim={self.channel_dim}"
