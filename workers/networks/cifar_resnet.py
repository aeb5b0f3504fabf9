"""The residual networks for small images: ResNet-20, 32, 44, 56 and so on."""

from torch import Tensor, nn
from torch.nn import functional as F

from workers.networks.layers import he_initial

_WIDTHS = (16, 32, 64)


class CifarResNet(nn.Module):
    """Three stages of residual blocks.

    Shortcuts that change size are option A: every second pixel, missing channels zero.

    Args:
        depth: Number of layers with weights, 6 n + 2 for n blocks a stage.

    Shape:
        - Input: `(N, channels, H, W)`.
        - Output: `(N, classes)`.

    Source:
        He, Zhang, Ren and Sun, *Deep Residual Learning for Image Recognition*, 2015, section
        4.2 (0.27, 0.46 and 0.85 million parameters with 20, 32 and 56 layers).
        https://arxiv.org/abs/1512.03385
    """

    def __init__(self, channels: int, classes: int, *, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(_convolution(channels, _WIDTHS[0]), nn.BatchNorm2d(_WIDTHS[0]))
        self.act = nn.ReLU()
        self.stages = nn.Sequential(*(_stage(index, blocks) for index in range(len(_WIDTHS))))
        self.head = nn.Linear(_WIDTHS[-1], classes)
        self.apply(he_initial)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.stages(self.act(self.stem(x))).mean(dim=(2, 3)))
        return y


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride = after // before
        self.conv1 = _convolution(before, after, self.stride)
        self.norm1 = nn.BatchNorm2d(after)
        self.act1 = nn.ReLU()
        self.conv2 = _convolution(after, after)
        self.norm2 = nn.BatchNorm2d(after)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.norm1(self.conv1(x)))
        z: Tensor = self.act2(self.norm2(self.conv2(y)) + self._shortcut(x, y.shape[1]))
        return z

    def _shortcut(self, x: Tensor, channels: int) -> Tensor:
        if self.stride == 1:
            return x
        missing = channels - x.shape[1]
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, missing))


def _stage(index: int, blocks: int) -> nn.Sequential:
    before, after = _WIDTHS[max(index - 1, 0)], _WIDTHS[index]
    rest = (_Block(after, after) for _ in range(blocks - 1))
    return nn.Sequential(_Block(before, after), *rest)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
