"""A small convolutional network: the effect of an activation shows after seconds of training."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

WIDTHS = (16, 32, 64)


class SmallCNN(nn.Module):
    """Blocks of convolution, normalisation, ReLU and pooling, then a linear classifier.

    Args:
        widths: Channels of each block.

    Shape:
        - Input: `(N, channels, H, W)` with H and W at least 8.
        - Output: `(N, classes)`.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(_block(before, after) for before, after in pairwise((channels, *widths)))
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(x).mean(dim=(2, 3)))
        return y


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
