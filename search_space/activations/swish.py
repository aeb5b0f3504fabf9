"""Swish with a learned switch, under both its names, and the smooth PReLU."""

from typing import Literal

import torch
from torch import Tensor, nn

from search_space.activations.acon import acon_a_parameters, acon_b_parameters, acon_c
from search_space.activations.learned import LearnedActivation
from search_space.spec import Share


class AconA(LearnedActivation):
    r"""ACON-A: a smooth ReLU with a learned switch.

    .. math:: f(x) = x \, \sigma(\beta x)

    It starts as SiLU, at beta = 1.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for a switch of each channel, `layer` for one.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.1.
        https://arxiv.org/abs/2009.04759
    """

    def __init__(self, channels: int, *, channel_dim: int = 1, share: Share = "channel") -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.beta = nn.Parameter(torch.ones(channels if share == "channel" else 1))

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)

    def acon_c_parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return `p1`, `p2` and `beta` with which ACON-C is this activation."""
        return acon_a_parameters(self.beta)

    def extra_repr(self) -> str:
        return f"{self.beta.numel()}, channel_dim={self.channel_dim}"


class Swish(AconA):
    r"""Swish with a learned switch, which is ACON-A.

    .. math:: f(x) = x \, \sigma(\beta x)

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for a switch of each channel, `layer` for one.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ramachandran, Zoph and Le, *Searching for Activation Functions*, 2017.
        https://arxiv.org/abs/1710.05941
    """


class AconB(LearnedActivation):
    r"""ACON-B: a smooth PReLU with a learned slope and a learned switch.

    .. math:: f(x) = (1 - p) x \, \sigma(\beta (1 - p) x) + p x

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for parameters of each channel, `layer` for one set of them.
        initial: `silu` starts with p = 0, as SiLU; `paper` with p = 0.25.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.1.
        https://arxiv.org/abs/2009.04759
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        initial: Literal["silu", "paper"] = "silu",
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.p = nn.Parameter(torch.full((width,), 0.25 if initial == "paper" else 0.0))
        self.beta = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return acon_c(x, *self.acon_c_parameters(), self.channel_dim)

    def acon_c_parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return `p1`, `p2` and `beta` with which ACON-C is this activation."""
        return acon_b_parameters(self.p, self.beta)

    def extra_repr(self) -> str:
        return f"{self.p.numel()}, channel_dim={self.channel_dim}"
