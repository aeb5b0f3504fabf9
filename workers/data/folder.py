"""The user's own images, in one folder per class, read from disk during the training.

DATA_ROOT/NAME/train/CLASS/*.png, and the folders `validation` and `test` beside `train`. For each
of these two that is missing, a fixed tenth of the training images is used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from workers.data.images import fixed_order
from workers.errors import BadData, DataMissing, TooFewSamples
from workers.training.augmentation import cut_out, moved
from workers.training.batches import EXAMPLES
from workers.training.recipe import Augmentation

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_SHARE = 0.1
_STATISTICS = 512


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images by path, with their labels."""

    paths: Sequence[Path]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.paths)

    def first(self, samples: int | None) -> "ImageFiles":
        """Return the first `samples` images; None: all. Raises `TooFewSamples`."""
        if samples is None:
            return self
        if samples > len(self):
            raise TooFewSamples(samples, len(self))
        return self.take(range(samples))

    def take(self, indices: Sequence[int]) -> "ImageFiles":
        return ImageFiles([self.paths[i] for i in indices], [self.labels[i] for i in indices])


@dataclass(frozen=True, slots=True)
class Folder:
    """The splits of a folder of images; the training images are in a fixed random order."""

    classes: Sequence[str]
    train: ImageFiles
    validation: ImageFiles
    test: ImageFiles


def find(data_root: Path, name: str) -> Folder:
    """Return the images of the folder `name`.

    Raises:
        DataMissing: If there is no such folder.
        BadData: If it holds too few classes or images.
    """
    root = data_root / name
    if not (root / "train").is_dir():
        raise DataMissing(f"folder:{name}", [root / "train" / "CLASS" / "*.png"])
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if len(classes) < 2:
        raise BadData(root / "train", f"needs a folder per class, has {len(classes)}")
    train = _listed(root / "train", classes)
    order = fixed_order(len(train)).tolist()
    held_out = max(1, round(len(train) * _SHARE))
    parts = {}
    for part in ("validation", "test"):
        if (root / part).is_dir():
            parts[part] = _listed(root / part, classes)
        else:
            parts[part] = train.take(order[:held_out])
            order = order[held_out:]
    if not order:
        raise BadData(root / "train", f"has too few images: {len(train)}")
    return Folder(classes, train.take(order), **parts)


class Streamed:
    """Images decoded by loader processes while the network is trained. Implements `Data`.

    Args:
        size: Side in pixels; images are scaled to it by their shorter side, and cropped.
        loaders: Number of processes that decode; 0: this process does.
        like: The split whose mean and deviation are used; None: those of the first 512 images of
            this one.
    """

    def __init__(
        self,
        files: ImageFiles,
        device: torch.device,
        *,
        size: int,
        loaders: int,
        augmentation: Augmentation | None = None,
        like: "Streamed | None" = None,
    ) -> None:
        self._images = _Decoded(files, size)
        self._device = device
        self._loaders = loaders
        self._augmentation = augmentation or Augmentation()
        self._order: list[list[int]] = []
        self._loader: DataLoader[Any] | None = None
        if like is None:
            first = torch.stack([self._images[i][0] for i in range(min(len(files), _STATISTICS))])
            deviation, mean = torch.std_mean(first.float(), dim=(0, 2, 3), keepdim=True)
            self.mean, self.deviation = mean[0].to(device), deviation[0].to(device)
        else:
            self.mean, self.deviation = like.mean, like.deviation

    @property
    def device(self) -> torch.device:
        return self._device

    def __len__(self) -> int:
        return len(self._images)

    def examples(self) -> Tensor:
        count = min(len(self), EXAMPLES)
        images = torch.stack([self._images[i][0] for i in range(count)])
        return self._normalised(images.to(self._device))

    def epoch(self, epoch: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self)).tolist()
        whole = range(0, len(self) - batch_size + 1, batch_size)
        for images, labels, numbers in self._stream(order, batch_size, whole):
            picked = moved(images, self._augmentation, numbers + epoch)
            yield cut_out(self._normalised(picked), self._augmentation.cutout), labels

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = list(range(len(self)))
        for images, labels, _ in self._stream(order, batch_size, range(0, len(self), batch_size)):
            yield self._normalised(images), labels

    def _stream(
        self, order: Sequence[int], batch_size: int, starts: Sequence[int]
    ) -> Iterator[list[Tensor]]:
        if self._loader is None:
            self._loader = DataLoader(
                self._images,
                batch_sampler=self._order,
                num_workers=self._loaders,
                persistent_workers=self._loaders > 0,
                # A fork starts at once. It is safe, since these processes use no device.
                multiprocessing_context="fork" if self._loaders else None,
                pin_memory=self._device.type == "cuda",
                # Its own generator: the loader draws a seed from it, and would otherwise change
                # the state of the global one.
                generator=torch.Generator(),
            )
        # In place: the workers persist, and the loader keeps this very list.
        self._order[:] = [list(order[start : start + batch_size]) for start in starts]
        for batch in self._loader:
            yield [part.to(self._device, non_blocking=True) for part in batch]

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.deviation


class _Decoded(Dataset[tuple[Tensor, int, int]]):
    """Images as bytes `(3, size, size)`, with their labels and numbers."""

    def __init__(self, files: ImageFiles, size: int) -> None:
        self._files = files
        self._size = size

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        pixels = decode(self._files.paths[index], self._size)
        return torch.from_numpy(pixels), self._files.labels[index], index


def decode(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return an image as `(3, size, size)`, scaled by its shorter side and cropped in the middle.

    Raises:
        BadData: If the file is not an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (size, size))
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(path, f"is not an image that can be read: {error}") from error
    return np.array(fitted, dtype=np.uint8).transpose(2, 0, 1).copy()


def _listed(root: Path, classes: Sequence[str]) -> ImageFiles:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(p for p in (root / name).glob("*") if p.suffix.lower() in SUFFIXES)
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise BadData(root, f"has no images in the folders {', '.join(classes)}")
    return ImageFiles(paths, labels)
