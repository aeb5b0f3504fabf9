"""U-Net."""

import torch
from torch import Tensor, nn

from workers.networks.layers import convolution, he_initial

_LEVELS = 4


class UNet(nn.Module):
    """Four halvings of the image and four doublings, joined at equal sizes; 18 ReLUs.

    Convolutions keep the size and are normalised, as in later implementations.

    Args:
        width: Channels at full size; the paper's is 64. They double with every halving.

    Shape:
        - Input: `(N, channels, H, W)` with H and W divisible by 16.
        - Output: `(N, classes, H, W)`.

    Source:
        Ronneberger, Fischer and Brox, *U-Net: Convolutional Networks for Biomedical Image
        Segmentation*, 2015, figure 1. https://arxiv.org/abs/1505.04597
    """

    def __init__(self, channels: int, classes: int, *, width: int = 8) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_LEVELS + 1)]
        before = (channels, *widths)
        self.down = nn.ModuleList(_pair(b, w) for b, w in zip(before, widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, w, 2, 2) for b, w in rising)
        self.up = nn.ModuleList(_pair(b, w) for b, w in rising)
        self.head = nn.Conv2d(width, classes, 1)
        self.apply(he_initial)

    def forward(self, x: Tensor) -> Tensor:
        passed: list[Tensor] = []
        for level, pair in enumerate(self.down):
            x = pair(self.pool(x) if level else x)
            passed.append(x)
        passed.pop()
        for grow, pair in zip(self.grow, self.up, strict=True):
            x = pair(torch.cat((passed.pop(), grow(x)), dim=1))
        y: Tensor = self.head(x)
        return y


def _pair(before: int, after: int) -> nn.Sequential:
    first, second = convolution(before, after), convolution(after, after)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
