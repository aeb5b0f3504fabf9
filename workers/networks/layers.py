"""Layers that several networks use."""

import torch
from torch import nn

SMALL = 64
"""Below so many pixels per side, an image is not downsampled by the first layers of a network that
was published for large images."""


def convolution(
    before: int, after: int, kernel: int = 3, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a convolution that keeps the size (but for its stride), and its normalisation."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after),
    )


@torch.no_grad()
def he_initial(module: nn.Module) -> None:
    """Initialise a convolution as He et al., 2015, for gradients of equal variance."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
