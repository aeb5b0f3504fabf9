"""A fully connected network for short series: it trains in a second."""

from torch import Tensor, nn

_WIDTH = 100


class MLP1d(nn.Module):
    """Three hidden layers of 100 with normalisation and ReLU, then a linear classifier.

    Shape:
        - Input: `(N, channels, size)`.
        - Output: `(N, classes)`.
    """

    def __init__(self, channels: int, classes: int, *, size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _block(channels * size, _WIDTH), _block(_WIDTH, _WIDTH), _block(_WIDTH, _WIDTH)
        )
        self.head = nn.Linear(_WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(x.flatten(start_dim=1)))
        return y


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU())
