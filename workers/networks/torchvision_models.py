"""Networks of torchvision, if it is installed. A source of networks: `names` and `build`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision import models

from workers.errors import UnknownNetwork

_CHANNELS = 3


def names() -> Sequence[str]:
    found: list[str] = models.list_models(module=models)
    return found


def build(name: str, channels: int, classes: int, size: int) -> tuple[nn.Module, Tensor]:
    """Return an untrained network and a batch for it."""
    model = network(channels, classes, size=size, name=name)
    return model, torch.zeros(2, channels, size, size)


def network(channels: int, classes: int, *, size: int, name: str) -> nn.Module:
    """Return an untrained network; a `vit_` gets this size of images.

    All of them expect three channels: an image with one channel is repeated.

    Raises:
        UnknownNetwork: If torchvision has no classifier of this name.
    """
    if name not in names():
        raise UnknownNetwork("torchvision", name, names())
    options = {"image_size": size} if name.startswith("vit_") else {}
    model: nn.Module = models.get_model_builder(name)(num_classes=classes, **options)
    return model if channels == _CHANNELS else nn.Sequential(_Coloured(), model)


class _Coloured(nn.Module):
    """One channel as three."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, _CHANNELS, -1, -1)
