"""Training and validation data for the loop: batches on the device."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from workers.training.augmentation import cut_out, moved
from workers.training.recipe import Augmentation

EXAMPLES = 64
_NONE = Augmentation()


class Data(Protocol):
    """One split of a data set."""

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int: ...

    def examples(self) -> Tensor:
        """Return the first inputs, normalised; always the same."""
        ...

    def epoch(self, epoch: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets in a random order, augmented.

        Samples that do not fill a last batch are left out of the epoch.
        """
        ...

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all inputs and targets in their order, without augmentation."""
        ...


class Batches:
    """A split of a data set that is on the device as a whole. Implements `Data`.

    Args:
        inputs: Images as bytes `(N, C, H, W)`, or numbers `(N, C, *)`.
        targets: `(N, *)`: the expected outputs.
        mean: Subtracted from the inputs: `(C, 1, 1)` for images, or another shape that broadcasts.
        deviation: What the inputs are then divided by, of such a shape, too.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        mean: Tensor,
        deviation: Tensor,
        augmentation: Augmentation = _NONE,
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.mean = mean
        self.deviation = deviation
        self.augmentation = augmentation

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    def __len__(self) -> int:
        return len(self.targets)

    def examples(self) -> Tensor:
        return self._normalised(self.inputs[:EXAMPLES])

    def epoch(self, epoch: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), device=self.device)
        for indices in torch.split(order, batch_size)[: len(self) // batch_size]:
            images = moved(self.inputs[indices], self.augmentation, indices + epoch)
            x = cut_out(self._normalised(images), self.augmentation.cutout)
            yield x, self.targets[indices]

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self._normalised(self.inputs[part]), self.targets[part]

    def _normalised(self, inputs: Tensor) -> Tensor:
        return (inputs.float() - self.mean) / self.deviation
