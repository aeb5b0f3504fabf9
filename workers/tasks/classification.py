"""The tasks of classification: their settings, and how a trial is run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.data.registry import DataSet
from workers.networks.registry import Network, classifier, installed_libraries
from workers.tasks.base import Place
from workers.tasks.settings import (
    COMPILED,
    DETERMINISTIC,
    FOLDER,
    FOLDER_PREFIX,
    TRAIN_SAMPLES,
    count,
    name_or,
    schema,
    with_defaults,
)
from workers.training.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from workers.handle.protocol import Trial
    from workers.training.batches import Data

_METRICS = {
    "validation_accuracy": "maximize",
    "validation_loss": "minimize",
    "train_loss": "minimize",
}
_COLOURS = 3
_FOLDER_AUGMENTATION = Augmentation(shift=4, mirror=True)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An untrained network, its data and its recipe.

    Attributes:
        test: None unless it was requested.
    """

    network: "nn.Module"
    train: "Data"
    validation: "Data"
    test: "Data | None"
    recipe: Recipe


@dataclass(frozen=True)
class Classification:
    """A task of classification: every network can be trained on every data set.

    Attributes:
        images: Whether folders of images are data sets, too, and networks of installed libraries
            are offered.
    """

    name: str
    description: str
    datasets: Mapping[str, DataSet]
    networks: Mapping[str, Network]
    epochs: int
    images: bool = False

    @property
    def offer(self) -> TaskOffer:
        libraries = [f"{name}:*" for name in installed_libraries()] if self.images else []
        recipes = {name: self._network(name).recipe for name in (*self.networks, *libraries)}
        return TaskOffer(
            name=self.name,
            description=self.description,
            settings=self.settings,
            metrics=_METRICS,
            recipes={name: asdict(recipe) for name, recipe in recipes.items()},
        )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The JSON Schema of the settings."""
        of_folders = {"image_size": count(64, most=1024, description="side, of images in folders")}
        libraries = "|".join(installed_libraries())
        open_datasets = FOLDER if self.images else None
        open_networks = f"^({libraries}):." if self.images and libraries else None
        return schema(
            {
                "dataset": name_or(open_datasets, list(self.datasets)),
                "network": name_or(open_networks, list(self.networks)),
                "epochs": count(self.epochs, most=1000),
                "batch_size": count(128, most=65536),
                "train_samples": TRAIN_SAMPLES,
                **(of_folders if self.images else {}),
                "compiled": COMPILED,
                "deterministic": DETERMINISTIC,
            },
            required=["dataset", "network"],
        )

    def prepare(
        self,
        task: Mapping[str, Any],
        data_root: str | Path,
        *,
        cache: Path | None = None,
        with_test: bool = False,
        loaders: int = 0,
    ) -> Prepared:
        """Return network, data and recipe; `workers.tasks.image_classification` documents it."""
        # Imported here: the agent imports this module for its offer, without torch.
        from workers.data.tensors import pick_device

        settings = with_defaults(self.settings, task)
        device = pick_device()
        if settings["dataset"].startswith(FOLDER_PREFIX):
            found = _from_folder(settings, Path(data_root), device, loaders)
        else:
            cache = cache or Path.home() / ".cache" / "actsearch"
            dataset = self.datasets[settings["dataset"]]
            found = _from_files(dataset, settings, Path(data_root), device, cache)
        network = self._network(settings["network"])
        return Prepared(
            network.build(found.channels, found.classes, found.size).to(device),
            found.train,
            found.validation,
            found.test if with_test else None,
            network.recipe,
        )

    def run(self, trial: "Trial", settings: dict[str, Any], place: Place) -> None:
        """Train one trial, or inspect its network; the example batch is of real data."""
        from workers.handle.seeds import make_deterministic
        from workers.training import loop

        settings = with_defaults(self.settings, settings)
        if settings["deterministic"]:
            make_deterministic()
        prepared = self.prepare(
            settings,
            place.data_root,
            cache=place.home / "cache",
            with_test=trial.is_confirmation,
            loaders=place.threads,
        )
        loop.train(
            trial,
            prepared.network,
            prepared.train,
            prepared.validation,
            prepared.recipe,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            test=prepared.test,
            compiled=settings["compiled"],
        )

    def _network(self, name: str) -> Network:
        return self.networks[name] if name in self.networks else classifier(name)


@dataclass(frozen=True, slots=True)
class _LoadedData:
    """The splits of a data set, and what a network must know about them."""

    train: "Data"
    validation: "Data"
    test: "Data"
    channels: int
    classes: int
    size: int


def _from_files(
    dataset: DataSet,
    settings: Mapping[str, Any],
    data_root: Path,
    device: "torch.device",
    cache: Path,
) -> _LoadedData:
    from workers.data.tensors import beside, on_device

    splits = dataset.load(data_root, cache)
    train, validation = on_device(
        splits,
        device,
        train_samples=settings["train_samples"],
        augmentation=dataset.augmentation,
    )
    test = beside(splits.test, train)
    return _LoadedData(train, validation, test, dataset.channels, dataset.classes, dataset.size)


def _from_folder(
    settings: Mapping[str, Any], data_root: Path, device: "torch.device", loaders: int
) -> _LoadedData:
    from workers.data.folder import Streamed, find

    folder = find(data_root, settings["dataset"].removeprefix(FOLDER_PREFIX))
    size = settings["image_size"]
    files = folder.train.first(settings["train_samples"])
    train = Streamed(files, device, size=size, loaders=loaders, augmentation=_FOLDER_AUGMENTATION)
    validation, test = (
        Streamed(part, device, size=size, loaders=loaders, like=train)
        for part in (folder.validation, folder.test)
    )
    return _LoadedData(train, validation, test, _COLOURS, len(folder.classes), size)
