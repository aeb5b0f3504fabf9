"""The residual networks for large images: ResNet-18, 34, 50, 101 and 152."""

from torch import Tensor, nn

from workers.networks.layers import SMALL, convolution, he_initial

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_DEEP = 50


class ResNet(nn.Module):
    """Four stages of residual blocks, of two convolutions each, or of three from 50 layers on.

    Images smaller than 64 pixels get a first convolution of 3x3 that keeps their size, and no
    pooling after it, as is usual on CIFAR. Where a block of three shrinks the image, its 3x3
    convolution does, as in later implementations; in the paper it is the first one.

    Args:
        size: Side of the square images in pixels.
        depth: Number of layers with weights.

    Shape:
        - Input: `(N, channels, size, size)`.
        - Output: `(N, classes)`.

    Source:
        He, Zhang, Ren and Sun, *Deep Residual Learning for Image Recognition*, 2015, table 1.
        https://arxiv.org/abs/1512.03385
    """

    def __init__(self, channels: int, classes: int, *, size: int, depth: int) -> None:
        super().__init__()
        small = size < SMALL
        self.stem = convolution(channels, _WIDTHS[0], 3 if small else 7, stride=1 if small else 2)
        self.act = nn.ReLU()
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        block = _Bottleneck if depth >= _DEEP else _Basic
        stages, before = [], _WIDTHS[0]
        for width, count in zip(_WIDTHS, _BLOCKS[depth], strict=True):
            strides = [1 if width == _WIDTHS[0] else 2] + [1] * (count - 1)
            stage = []
            for stride in strides:
                stage.append(block(before, width, stride))
                before = width * block.expansion
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, classes)
        self.apply(he_initial)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.stages(self.pool(self.act(self.stem(x)))).mean(dim=(2, 3)))
        return y


class _Basic(nn.Module):
    """Two convolutions of 3x3 beside a shortcut."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(before, width, stride=stride)
        self.act1 = nn.ReLU()
        self.conv2 = convolution(width, width)
        self.shortcut = _shortcut(before, width, stride)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act2(self.conv2(self.act1(self.conv1(x))) + self.shortcut(x))
        return y


class _Bottleneck(nn.Module):
    """A convolution of 3x3 between two of 1x1, beside a shortcut."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * self.expansion
        self.conv1 = convolution(before, width, 1)
        self.act1 = nn.ReLU()
        self.conv2 = convolution(width, width, stride=stride)
        self.act2 = nn.ReLU()
        self.conv3 = convolution(width, after, 1)
        self.shortcut = _shortcut(before, after, stride)
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act2(self.conv2(self.act1(self.conv1(x))))
        z: Tensor = self.act3(self.conv3(y) + self.shortcut(x))
        return z


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    """Return option B of the paper: a convolution of 1x1 where the size changes."""
    if stride == 1 and before == after:
        return nn.Identity()
    return convolution(before, after, 1, stride=stride)
