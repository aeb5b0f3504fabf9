"""The built-in networks, each with its recipe, as plain data: a worker offers them without torch.

This module is also a source of networks for `actsearch sites`: `names` and `build`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from workers.errors import UnknownNetwork
from workers.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

_SGD = Recipe(learning_rate=0.1, weight_decay=5e-4)
_SLOW_SGD = Recipe(learning_rate=0.05, weight_decay=4e-5, warm_up=0.05)
_ADAMW = Recipe(learning_rate=1e-3, weight_decay=0.05, optimizer="adamw", warm_up=0.1, clip=1.0)


@dataclass(frozen=True, slots=True)
class Network:
    """A network.

    Attributes:
        target: `module:Class`, constructed from (input channels, classes).
        recipe: How it is trained on small images.
        arguments: Further keyword arguments of the constructor.
        sized: Whether the constructor also has the argument `size`, the side of the square images
            or the length of the series.
    """

    target: str
    recipe: Recipe
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sized: bool = False

    def build(self, channels: int, classes: int, size: int) -> "nn.Module":
        module, _, attribute = self.target.partition(":")
        sized = {"size": size} if self.sized else {}
        built: nn.Module = getattr(import_module(module), attribute)(
            channels, classes, **sized, **self.arguments
        )
        return built


def _cifar_resnet(depth: int) -> Network:
    return Network("workers.networks.cifar_resnet:CifarResNet", _SGD, {"depth": depth})


def _resnet(depth: int) -> Network:
    return Network("workers.networks.resnet:ResNet", _SGD, {"depth": depth}, sized=True)


def _shufflenet(scale: float) -> Network:
    target = "workers.networks.shufflenet:ShuffleNetV2"
    return Network(target, _SLOW_SGD, {"scale": scale}, sized=True)


CLASSIFIERS: Mapping[str, Network] = {
    "mlp": Network(
        "workers.networks.mlp:MLP", Recipe(learning_rate=0.05, weight_decay=5e-4), sized=True
    ),
    "small-cnn": Network("workers.networks.small_cnn:SmallCNN", _SGD),
    "resnet20": _cifar_resnet(20),
    "resnet32": _cifar_resnet(32),
    "resnet56": _cifar_resnet(56),
    "resnet18": _resnet(18),
    "resnet50": _resnet(50),
    "shufflenet-v2-0.5x": _shufflenet(0.5),
    "shufflenet-v2-1.5x": _shufflenet(1.5),
    "mobilenet-v2": Network("workers.networks.mobilenet:MobileNetV2", _SLOW_SGD, sized=True),
    "vit-tiny": Network("workers.networks.vit:ViT", _ADAMW, sized=True),
}
"""Networks of image classification."""

SERIES_CLASSIFIERS: Mapping[str, Network] = {
    "mlp-1d": Network(
        "workers.networks.mlp_1d:MLP1d", Recipe(learning_rate=0.05, weight_decay=5e-4), sized=True
    ),
    "cnn-1d": Network("workers.networks.cnn_1d:CNN1d", _SGD, sized=True),
}
"""Networks of series, whose length is their size."""

SEGMENTERS: Mapping[str, Network] = {
    "unet": Network(
        "workers.networks.unet:UNet",
        Recipe(learning_rate=5e-3, weight_decay=1e-4, optimizer="adamw", warm_up=0.1),
    ),
}
"""Networks of segmentation."""

COORDINATE_NETWORKS: Mapping[str, Network] = {
    "siren": Network("workers.networks.siren:Siren", Recipe(learning_rate=5e-4, optimizer="adamw")),
    "coordinate-mlp": Network(
        "workers.networks.siren:CoordinateMLP", Recipe(learning_rate=2e-3, optimizer="adamw")
    ),
}
"""Networks from coordinates to colours."""

NETWORKS: Mapping[str, Network] = {
    **CLASSIFIERS,
    **SERIES_CLASSIFIERS,
    **SEGMENTERS,
    **COORDINATE_NETWORKS,
}


_LIBRARIES = ("timm", "torchvision")


def installed_libraries() -> Sequence[str]:
    """Return the installed libraries whose networks can be named as `LIBRARY:NAME`."""
    return [library for library in _LIBRARIES if find_spec(library) is not None]


def classifier(name: str) -> Network:
    """Return a network of image classification, of this package or of a library."""
    library, colon, of_library = name.partition(":")
    if colon:
        target = f"workers.networks.{library}_models:network"
        return Network(target, _ADAMW, {"name": of_library}, sized=True)
    return CLASSIFIERS[name]


def names() -> Sequence[str]:
    """Return the name of every network."""
    return sorted(NETWORKS)


def build(name: str, channels: int, classes: int, size: int) -> "tuple[nn.Module, Tensor]":
    """Return an untrained network and a batch for it.

    Args:
        channels: Of the images; networks of coordinates ignore it, and have two inputs.
        classes: Of the images; for a network of coordinates the channels of a colour.

    Raises:
        UnknownNetwork: If there is no network of this name.
    """
    import torch

    if name not in NETWORKS:
        raise UnknownNetwork("activation-search", name, names())
    if name in COORDINATE_NETWORKS:
        return NETWORKS[name].build(2, classes, size), torch.zeros(2, 2)
    if name in SERIES_CLASSIFIERS:
        return NETWORKS[name].build(channels, classes, size), torch.zeros(2, channels, size)
    return NETWORKS[name].build(channels, classes, size), torch.zeros(2, channels, size, size)
