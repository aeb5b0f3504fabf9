"""ShuffleNet V2."""

import torch
from torch import Tensor, nn

from workers.networks.layers import SMALL, convolution, he_initial

_STEM, _LAST = 24, 1024
_WIDTHS = {
    0.5: (48, 96, 192),
    1.0: (116, 232, 464),
    1.5: (176, 352, 704),
}
_UNITS = (4, 8, 4)


class ShuffleNetV2(nn.Module):
    """Three stages of units that work on one half of the channels and shuffle both.

    Images smaller than 64 pixels are not shrunk before the first stage.

    Args:
        size: Side of the square images in pixels.
        scale: 0.5, 1.0 or 1.5: which of the published widths.

    Shape:
        - Input: `(N, channels, size, size)`.
        - Output: `(N, classes)`.

    Source:
        Ma, Zhang, Zheng and Sun, *ShuffleNet V2: Practical Guidelines for Efficient CNN
        Architecture Design*, 2018, table 5 (1.4 million parameters at 0.5x, 3.5 at 1.5x).
        https://arxiv.org/abs/1807.11164
    """

    def __init__(self, channels: int, classes: int, *, size: int, scale: float) -> None:
        super().__init__()
        small = size < SMALL
        self.stem = nn.Sequential(
            convolution(channels, _STEM, stride=1 if small else 2),
            nn.ReLU(),
            nn.Identity() if small else nn.MaxPool2d(3, 2, 1),
        )
        stages, before = [], _STEM
        for width, count in zip(_WIDTHS[scale], _UNITS, strict=True):
            rest = (_Unit(width) for _ in range(count - 1))
            stages.append(nn.Sequential(_ShrinkingUnit(before, width), *rest))
            before = width
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(convolution(before, _LAST, 1), nn.ReLU())
        self.head = nn.Linear(_LAST, classes)
        self.apply(he_initial)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.last(self.stages(self.stem(x))).mean(dim=(2, 3)))
        return y


class _Unit(nn.Module):
    """One half of the channels passes by, the other through a branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = _branch(width // 2, width // 2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        return _shuffled(kept, self.branch(worked))


class _ShrinkingUnit(nn.Module):
    """All channels go through both branches, which halve the image and double the channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        half = after // 2
        self.branch = _branch(before, half, stride=2)
        self.shortcut = nn.Sequential(
            convolution(before, before, stride=2, groups=before),
            convolution(before, half, 1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return _shuffled(self.shortcut(x), self.branch(x))


def _branch(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(before, after, 1),
        nn.ReLU(),
        convolution(after, after, stride=stride, groups=after),
        convolution(after, after, 1),
        nn.ReLU(),
    )


def _shuffled(left: Tensor, right: Tensor) -> Tensor:
    """Return the channels of both in turn."""
    return torch.stack((left, right), dim=2).flatten(1, 2)
