"""Every network of the image classification task, with the recipe it is trained by.

Plain data, so that a worker can tell what it offers without loading torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """SGD with Nesterov momentum, its rate falling to zero along a cosine, step by step."""

    learning_rate: float
    weight_decay: float
    momentum: float = 0.9


@dataclass(frozen=True, slots=True)
class Network:
    """A network.

    Attributes:
        target: `module:Class`, constructed from (input channels, classes).
    """

    target: str
    recipe: Recipe

    def load(self) -> Any:
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


NETWORKS: Mapping[str, Network] = {
    "small-cnn": Network(
        "workers.networks.small_cnn:SmallCNN", Recipe(learning_rate=0.1, weight_decay=5e-4)
    ),
    "resnet20": Network(
        "workers.networks.resnet20:ResNet20", Recipe(learning_rate=0.1, weight_decay=5e-4)
    ),
}
