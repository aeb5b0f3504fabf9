"""Image classification on the built-in data sets, with the built-in networks."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.data.registry import DATASETS
from workers.networks.registry import NETWORKS
from workers.tasks.base import FunctionTask, Place

if TYPE_CHECKING:
    from workers.handle import Trial

_SETTINGS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "dataset": {"enum": sorted(DATASETS)},
        "network": {"enum": sorted(NETWORKS)},
        "epochs": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 8},
        "batch_size": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 128},
        "train_samples": {
            "description": "train on the first so many images of a fixed random order",
            "type": ["integer", "null"],
            "minimum": 1,
            "default": None,
        },
    },
    "required": ["dataset", "network"],
    "additionalProperties": False,
}

OFFER = TaskOffer(
    name="image-classification",
    description="Classify small images; choices are made on a tenth of the training data.",
    settings=_SETTINGS,
    metrics={
        "validation_accuracy": "maximize",
        "validation_loss": "minimize",
        "train_loss": "minimize",
    },
    recipes={name: asdict(network.recipe) for name, network in NETWORKS.items()},
)

TASK = FunctionTask(OFFER, "workers.tasks.image_classification:run")


def run(trial: "Trial", settings: dict[str, Any], place: Place) -> None:
    """Train one trial, inspection included; the example batch is of real images."""
    # The agent reads this module for its offer and stays without torch.
    from workers import training
    from workers.data.tensors import on_device, pick_device

    settings = _with_defaults(settings)
    dataset, network = DATASETS[settings["dataset"]], NETWORKS[settings["network"]]
    images = dataset.load(place.data_root, place.home / "cache")
    device = pick_device()
    data, validation = on_device(images, device, train_samples=settings["train_samples"])
    training.train(
        trial,
        network.load()(dataset.channels, dataset.classes).to(device),
        data,
        validation,
        network.recipe,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        augmented=dataset.augmented,
    )


def _with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = _SETTINGS["properties"]  # type: ignore[assignment]
    defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
    return defaults | settings
