"""What tasks of classification have in common: their settings, and how a trial is run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.data.registry import DataSet
from workers.networks.registry import Network
from workers.recipe import Recipe
from workers.tasks.base import Place

if TYPE_CHECKING:
    from torch import nn

    from workers.batches import Batches
    from workers.handle import Trial

_METRICS = {
    "validation_accuracy": "maximize",
    "validation_loss": "minimize",
    "train_loss": "minimize",
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network, untrained, with its data on the device and its recipe."""

    network: "nn.Module"
    train: "Batches"
    validation: "Batches"
    test: "Batches | None"
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Classification:
    """A task of classification: its data sets and networks, each with each."""

    name: str
    description: str
    datasets: Mapping[str, DataSet]
    networks: Mapping[str, Network]
    epochs: int

    @property
    def offer(self) -> TaskOffer:
        return TaskOffer(
            name=self.name,
            description=self.description,
            settings=self._settings(),
            metrics=_METRICS,
            recipes={name: asdict(network.recipe) for name, network in self.networks.items()},
        )

    def prepare(
        self,
        task: Mapping[str, Any],
        data_root: str | Path,
        *,
        cache: Path | None = None,
        with_test: bool = False,
    ) -> Prepared:
        """Return what the settings of a task name: those of a search, or of a config it found.

        Args:
            data_root: Folder of the data sets; what is generated or comes along needs none.
            cache: Folder for the decoded data; None: the user's own cache folder.
            with_test: Whether the test data comes along; no choice may be made on it.

        Raises:
            DataMissing: If the data set is not there; it names the path looked for.
        """
        # The agent reads this module for its offer and stays without torch.
        from workers.data.tensors import beside, on_device, pick_device

        settings = self._with_defaults(task)
        dataset, network = self.datasets[settings["dataset"]], self.networks[settings["network"]]
        splits = dataset.load(Path(data_root), cache or Path.home() / ".cache" / "actsearch")
        device = pick_device()
        model = network.build(dataset.channels, dataset.classes, dataset.size)
        train, validation = on_device(
            splits,
            device,
            train_samples=settings["train_samples"],
            augmentation=dataset.augmentation,
        )
        test = beside(splits.test, train) if with_test else None
        return Prepared(model.to(device), train, validation, test, network.recipe)

    def run(self, trial: "Trial", settings: dict[str, Any], place: Place) -> None:
        """Train one trial, inspection included; the example batch is of real data."""
        from workers import training

        settings = self._with_defaults(settings)
        prepared = self.prepare(
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

    def _settings(self) -> dict[str, Any]:
        """Return the JSON Schema of the settings."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "dataset": {"enum": sorted(self.datasets)},
                "network": {"enum": sorted(self.networks)},
                "epochs": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 1000,
                    "default": self.epochs,
                },
                "batch_size": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 65536,
                    "default": 128,
                },
                "train_samples": {
                    "description": "train on the first so many samples of a fixed random order",
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "default": None,
                },
            },
            "required": ["dataset", "network"],
            "additionalProperties": False,
        }

    def _with_defaults(self, task: Mapping[str, Any]) -> dict[str, Any]:
        properties: dict[str, dict[str, Any]] = self._settings()["properties"]
        defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
        return {**defaults, **task}
