"""A convolutional network for short series."""

from torch import Tensor, nn

_WIDTH = 25


class CNN1d(nn.Module):
    """Three strided convolutions with normalisation and ReLU, then a linear classifier.

    The network that MNIST-1D was published with, and batch normalisation, with which it trains
    in a tenth of the steps.

    Shape:
        - Input: `(N, channels, size)`, with `size` a multiple of 8.
        - Output: `(N, classes)`.

    Source:
        Greydanus and Kobak, *Scaling Down Deep Learning with MNIST-1D*, 2020.
        https://arxiv.org/abs/2011.14439
    """

    def __init__(self, channels: int, classes: int, *, size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _block(channels, _WIDTH, 5), _block(_WIDTH, _WIDTH, 3), _block(_WIDTH, _WIDTH, 3)
        )
        self.head = nn.Linear(size // 8 * _WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(x).flatten(start_dim=1))
        return y


def _block(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(before, after, kernel, stride=2, padding=1, bias=False),
        nn.BatchNorm1d(after),
        nn.ReLU(),
    )
