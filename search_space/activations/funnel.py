"""Activations that compare a pixel with its surroundings in the image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.broadcasting import working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.activations.network import normalise, require_channels_first


class _Funnel(LearnedActivation):
    """Base with the condition: a normalised depthwise convolution of 3x3."""

    def __init__(self, activation: str, channels: int, channel_dim: int) -> None:
        require_channels_first(activation, channel_dim)
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def condition(self, x: Tensor) -> Tensor:
        """Return what to compare the input with, in its shape, at least in float32."""
        if x.dim() != 4 or x.shape[1] != self.conv.in_channels:
            raise ValueError(
                f"it needs images of {self.conv.in_channels} channels, (N, C, H, W), "
                f"got {tuple(x.shape)}"
            )
        weight, bias = self.conv.weight, self.conv.bias
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(x.to(weight.dtype), weight, bias, padding=1, groups=x.shape[1])
            return normalise(self.norm, y)

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:  # noqa: ARG002
        # The middle of constant images: padding affects only their border.
        y: Tensor = self(x[:, :, None, None].expand(-1, -1, 3, 3))
        return y[:, :, 1, 1]


class FReLU(_Funnel):
    r"""Funnel activation: the larger of a pixel and a learned mean of its surroundings.

    .. math:: f(x) = \max(x, BN(w * x))

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1; anything else is refused.

    Shape:
        - Input: `(N, C, H, W)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. The condition is computed in float32.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input is no image of so many channels.

    Source:
        Ma, Zhang and Sun, *Funnel Activation for Visual Recognition*, 2020.
        https://arxiv.org/abs/2007.11824
        Differs from the authors' code if each channel has one value in training: it is then
        normalised by the running statistics.
    """

    def __init__(self, channels: int, *, channel_dim: int = 1) -> None:
        super().__init__("frelu", channels, channel_dim)

    def forward(self, x: Tensor) -> Tensor:
        condition = self.condition(x)
        return torch.maximum(x.to(condition.dtype), condition).to(x.dtype)


class AconFReLU(_Funnel):
    r"""The smooth maximum of a pixel and a learned mean of its surroundings.

    .. math:: f(x) = (x - \eta) \sigma(x - \eta) + \eta, \quad \eta = BN(w * x)

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1; anything else is refused.

    Shape:
        - Input: `(N, C, H, W)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. The condition is computed in float32.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input is no image of so many channels.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, with the switch fixed to 1.
        https://arxiv.org/abs/2009.04759
        Differs from the authors' TFNet in that the norm after the sum is left to the block.
    """

    def __init__(self, channels: int, *, channel_dim: int = 1) -> None:
        super().__init__("acon_frelu", channels, channel_dim)

    def forward(self, x: Tensor) -> Tensor:
        condition = self.condition(x)
        wide = x.to(torch.promote_types(working_dtype(x), condition.dtype))
        return (F.silu(wide - condition) + condition).to(x.dtype)
