"""MobileNet V2."""

from torch import Tensor, nn

from workers.networks.layers import SMALL, convolution, he_initial

_STEM, _LAST = 32, 1280
# Expansion, width, blocks and stride of every stage: table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_DROPOUT = 0.2


class MobileNetV2(nn.Module):
    """Seven stages of inverted residual blocks; every activation is a ReLU6.

    Images smaller than 64 pixels are not shrunk before the third stage.

    Args:
        size: Side of the square images in pixels.

    Shape:
        - Input: `(N, channels, size, size)`.
        - Output: `(N, classes)`.

    Source:
        Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, 2018 (3.4
        million parameters). https://arxiv.org/abs/1801.04381
    """

    def __init__(self, channels: int, classes: int, *, size: int) -> None:
        super().__init__()
        small = size < SMALL
        self.stem = nn.Sequential(
            convolution(channels, _STEM, stride=1 if small else 2), nn.ReLU6()
        )
        stages, before = [], _STEM
        for index, (expansion, width, count, first) in enumerate(_STAGES):
            strides = [1 if small and index < 2 else first] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(_Block(before, width, expansion=expansion, stride=stride))
                before = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(convolution(before, _LAST, 1), nn.ReLU6())
        self.head = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(_LAST, classes))
        self.apply(he_initial)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.last(self.stages(self.stem(x))).mean(dim=(2, 3)))
        return y


class _Block(nn.Module):
    """Widens by 1x1, filters every channel by itself, and narrows without an activation."""

    def __init__(self, before: int, after: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = before * expansion
        widen = [] if expansion == 1 else [convolution(before, inner, 1), nn.ReLU6()]
        self.layers = nn.Sequential(
            *widen,
            convolution(inner, inner, stride=stride, groups=inner),
            nn.ReLU6(),
            convolution(inner, after, 1),
        )
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y
