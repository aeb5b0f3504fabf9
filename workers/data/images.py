"""A data set in memory, with its fixed splits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
# The inputs of networks: images of bytes `(N, C, H, W)`, or series of numbers `(N, C, L)`.
Inputs = NDArray[np.uint8 | np.float32]
Labels = NDArray[np.int64]
SplitName = Literal["train", "validation", "test"]

_VALIDATION_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Split:
    """Images `(N, C, H, W)` of bytes, or series `(N, C, L)`, with their labels."""

    images: Inputs
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        return Split(np.ascontiguousarray(self.images[indices]), self.labels[indices])


@dataclass(frozen=True, slots=True)
class Images:
    """Training, validation and test split. Choices are made on validation data only.

    The training split is in a fixed random order: its first n images are a random sample.
    """

    train: Split
    validation: Split
    test: Split


def with_validation(train: Split, test: Split) -> Images:
    """Return the official test data, and the training data without a tenth for validation."""
    order = fixed_order(len(train))
    held_out = round(len(train) * _VALIDATION_SHARE)
    return Images(train.take(order[held_out:]), train.take(order[:held_out]), test)


def fixed_order(size: int) -> NDArray[np.int64]:
    """Return the permutation of `size` that every worker uses."""
    # RandomState: numpy guarantees its numbers for ever; those of a Generator may change.
    return np.random.RandomState(0).permutation(size).astype(np.int64)
