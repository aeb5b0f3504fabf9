"""The data sets of the built-in tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from workers.data import digits, idx, mnist1d
from workers.data.cache import cached, identity
from workers.data.cifar import CIFAR10, CIFAR100, Cifar
from workers.data.images import Images
from workers.training.recipe import Augmentation


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set: how to load it, and what a network must know about it.

    Attributes:
        load: From (data root, cache folder).
        size: Side of the square images in pixels, or length of the series.
        augmentation: Random changes of training images; None: no changes.
    """

    load: Callable[[Path, Path], Images]
    channels: int
    classes: int
    size: int
    augmentation: Augmentation | None = None


def _digits(data_root: Path, cache: Path) -> Images:  # noqa: ARG001
    return cached(cache, "digits", metadata.version("scikit-learn"), digits.load)


def _mnist(data_root: Path, cache: Path) -> Images:
    return _idx("mnist", data_root / "MNIST", cache)


def _fashion_mnist(data_root: Path, cache: Path) -> Images:
    return _idx("fashion-mnist", data_root / "FashionMNIST", cache)


def _cifar(which: Cifar, data_root: Path, cache: Path) -> Images:
    paths = which.files(data_root)
    return cached(cache, which.name, identity(paths), lambda: which.load(paths))


def _mnist_1d(data_root: Path, cache: Path) -> Images:  # noqa: ARG001
    return cached(cache, "mnist-1d", _generated_by(), mnist1d.load)


def _mnist_1d_large(data_root: Path, cache: Path) -> Images:  # noqa: ARG001
    return cached(cache, "mnist-1d-large", _generated_by(), mnist1d.load_large)


def _generated_by() -> str:
    """Return the versions that the exact values of generated data may depend on."""
    return f"numpy {metadata.version('numpy')}, scipy {metadata.version('scipy')}"


def _idx(name: str, folder: Path, cache: Path) -> Images:
    paths = idx.files(name, folder)
    return cached(cache, name, identity(paths), lambda: idx.load(paths))


def _of(which: Cifar) -> DataSet:
    classes = 10 if which is CIFAR10 else 100
    how = Augmentation(shift=4, mirror=True)
    return DataSet(partial(_cifar, which), 3, classes, size=32, augmentation=how)


DATASETS: Mapping[str, DataSet] = {
    "digits": DataSet(_digits, channels=1, classes=10, size=8),
    "mnist": DataSet(_mnist, channels=1, classes=10, size=28),
    "fashion-mnist": DataSet(_fashion_mnist, channels=1, classes=10, size=28),
    "cifar10": _of(CIFAR10),
    "cifar100": _of(CIFAR100),
}

SERIES: Mapping[str, DataSet] = {
    "mnist-1d": DataSet(_mnist_1d, channels=1, classes=10, size=mnist1d.LENGTH),
    "mnist-1d-large": DataSet(_mnist_1d_large, channels=1, classes=10, size=mnist1d.LENGTH),
}
