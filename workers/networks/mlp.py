"""A plain network of two hidden layers."""

from torch import Tensor, nn

_WIDTHS = (300, 100)


class MLP(nn.Module):
    """The pixels in a row, then layers of 300 and 100 units; two ReLUs.

    Args:
        size: Side of the square images in pixels.

    Shape:
        - Input: `(N, channels, size, size)`.
        - Output: `(N, classes)`.

    Source:
        LeCun, Bottou, Bengio and Haffner, *Gradient-Based Learning Applied to Document
        Recognition*, 1998, section III.C.4: 28x28-300-100-10, 266,610 parameters. Its units
        were tanh.
    """

    def __init__(self, channels: int, classes: int, *, size: int) -> None:
        super().__init__()
        first, second = _WIDTHS
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * size * size, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y
