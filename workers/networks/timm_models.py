"""Networks of timm, if it is installed. A source of networks: `names` and `build`."""

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from workers.errors import UnknownNetwork


def names() -> Sequence[str]:
    found: list[str] = timm.list_models()
    return found


def build(name: str, channels: int, classes: int, size: int) -> tuple[nn.Module, Tensor]:
    """Return an untrained network and a batch for it."""
    model = network(channels, classes, size=size, name=name)
    return model, torch.zeros(2, channels, size, size)


def network(channels: int, classes: int, *, size: int, name: str) -> nn.Module:
    """Return an untrained network; one with a fixed size of images gets this size.

    Raises:
        UnknownNetwork: If timm has no network of this name.
    """
    if not timm.is_model(name):
        raise UnknownNetwork("timm", name, names())
    options = {"in_chans": channels, "num_classes": classes}
    try:
        sized: nn.Module = timm.create_model(name, **options, img_size=size)
    except TypeError:
        # Most convolutional networks accept images of any size, and have no such option.
        plain: nn.Module = timm.create_model(name, **options)
        return plain
    return sized
