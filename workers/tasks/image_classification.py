"""Image classification on the built-in data sets, with the built-in networks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.data.registry import DATASETS
from workers.networks.registry import CLASSIFIERS
from workers.recipe import Recipe
from workers.tasks.base import FunctionTask, Place

if TYPE_CHECKING:
    from torch import nn

    from workers.batches import Batches
    from workers.handle import Trial

_SETTINGS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "dataset": {"enum": sorted(DATASETS)},
        "network": {"enum": sorted(CLASSIFIERS)},
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
    recipes={name: asdict(network.recipe) for name, network in CLASSIFIERS.items()},
)

TASK = FunctionTask(OFFER, "workers.tasks.image_classification:run")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network, untrained, with its data on the device and its recipe."""

    network: "nn.Module"
    train: "Batches"
    validation: "Batches"
    test: "Batches | None"
    recipe: Recipe


def prepare(
    task: Mapping[str, Any],
    data_root: str | Path,
    *,
    cache: Path | None = None,
    with_test: bool = False,
) -> Prepared:
    """Return what the settings of a task name: those of a search, or of a config it found.

    Args:
        data_root: Folder of the data sets; `digits` needs none.
        cache: Folder for the decoded data; None: the user's own cache folder.
        with_test: Whether the test data comes along; no choice may be made on it.

    Raises:
        DataMissing: If the data set is not there; it names the path looked for.
    """
    # The agent reads this module for its offer and stays without torch.
    from workers.data.tensors import beside, on_device, pick_device

    settings = _with_defaults(task)
    dataset, network = DATASETS[settings["dataset"]], CLASSIFIERS[settings["network"]]
    images = dataset.load(Path(data_root), cache or Path.home() / ".cache" / "actsearch")
    device = pick_device()
    model = network.build(dataset.channels, dataset.classes, dataset.size)
    train, validation = on_device(
        images,
        device,
        train_samples=settings["train_samples"],
        augmentation=dataset.augmentation,
    )
    test = beside(images.test, train) if with_test else None
    return Prepared(model.to(device), train, validation, test, network.recipe)


def run(trial: "Trial", settings: dict[str, Any], place: Place) -> None:
    """Train one trial, inspection included; the example batch is of real images."""
    from workers import training

    settings = _with_defaults(settings)
    prepared = prepare(
        settings,
        place.data_root,
        cache=place.home / "cache",
        with_test=trial.is_confirmation,
    )
    training.train(
        trial,
        prepared.network,
        prepared.train,
        prepared.validation,
        prepared.recipe,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        test=prepared.test,
    )


def _with_defaults(task: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = _SETTINGS["properties"]  # type: ignore[assignment]
    defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
    return {**defaults, **task}
