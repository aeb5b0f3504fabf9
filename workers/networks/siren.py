"""Networks from coordinates to colours, each trained for one image."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from search_space.activations.periodic import Sine

_WIDTH = 256
_HIDDEN = 4
_OMEGA = 30.0  # the default of `Sine`


class Siren(nn.Module):
    """Four hidden layers of 256 sines.

    Weights are as published: U(-1/n, 1/n) in the first layer, in the others
    U(-sqrt(6/n)/omega, +), for n inputs and omega = 30.

    Args:
        inputs: Coordinates of a point, from -1 to 1.
        outputs: Channels of a colour.

    Shape:
        - Input: `(N, inputs)`.
        - Output: `(N, outputs)`.

    Source:
        Sitzmann et al., *Implicit Neural Representations with Periodic Activation Functions*,
        2020. https://arxiv.org/abs/2006.09661
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = _layers(inputs, outputs, Sine)
        linear = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for index, layer in enumerate(linear):
                n = layer.in_features
                reach = 1 / n if index == 0 else math.sqrt(6 / n) / _OMEGA
                layer.weight.uniform_(-reach, reach)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class CoordinateMLP(nn.Module):
    """The layers of `Siren` with ReLUs, whose weights suit activations without a period.

    The inputs are sines and cosines of the coordinates, at six frequencies. Without them, such a
    network learns only a blurred image.

    Shape:
        - Input: `(N, inputs)`.
        - Output: `(N, outputs)`.

    Source:
        Mildenhall et al., *NeRF*, 2020, section 5.1, equation 4, for the waves.
        https://arxiv.org/abs/2003.08934
    """

    frequencies: Tensor

    def __init__(self, inputs: int, outputs: int, *, waves: int = 6) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(waves), persistent=False)
        self.layers = _layers(inputs * waves * 2, outputs, nn.ReLU)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        angles = (x[..., None] * self.frequencies).flatten(-2)
        y: Tensor = self.layers(torch.cat((angles.sin(), angles.cos()), dim=-1))
        return y


def _layers(inputs: int, outputs: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return hidden layers, each with an activation, and a linear one."""
    layers: list[nn.Module] = []
    for before in (inputs, *[_WIDTH] * (_HIDDEN - 1)):
        layers += [nn.Linear(before, _WIDTH), activation()]
    return nn.Sequential(*layers, nn.Linear(_WIDTH, outputs))
