"""What several networks are made of."""

import torch
from torch import nn

SMALL = 64
"""Images of fewer pixels a side than this are not shrunk by the first layers of a network that
was published for large ones."""


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
    """Give a convolution the weights of He et al., 2015, for the variance of gradients."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
