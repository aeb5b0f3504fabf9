"""A training in progress, with its checkpoints and its results."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from workers.handle import checkpoint
from workers.handle.checks import is_finite
from workers.handle.phases import PhaseScheduler
from workers.handle.protocol import Stateful
from workers.handle.unwrapping import network_of, optimizer_of
from workers.measurement.learned_shapes import ShapeHistory


class TrainingProgress:
    """What is trained, and how far the training is.

    Attributes:
        result: The network whose weights are the result: `evaluated`, or else `model`.
        finished: Number of epochs that are over.
        shapes: The learned curves after each epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        others: tuple[Stateful, ...],
        phase_scheduler: PhaseScheduler,
        epochs: int,
        evaluated: nn.Module | None,
        shapes: ShapeHistory,
    ) -> None:
        self.shapes = shapes
        self.result = network_of(model if evaluated is None else evaluated)
        self.phase_scheduler = phase_scheduler
        self.epochs = epochs
        self.finished = 0
        self._model = network_of(model)
        self._optimizer = optimizer_of(optimizer)
        self._others = others

    def end_epoch(self, epoch: int) -> None:
        self.phase_scheduler.end_epoch()
        self.finished = epoch + 1

    def save(self) -> bytes:
        """Return a checkpoint."""
        progress = {
            "epoch": self.finished,
            "steps": self.phase_scheduler.steps,
            "steps_per_epoch": self.phase_scheduler.steps_per_epoch,
            "shapes": self.shapes.epochs,
        }
        return checkpoint.save(self._model, self._optimizer, self._others, progress)

    def restore(self, data: bytes) -> None:
        """Continue from a checkpoint."""
        progress = checkpoint.restore(data, self._model, self._optimizer, self._others)
        self.finished = progress["epoch"]
        self.phase_scheduler.steps = progress["steps"]
        self.phase_scheduler.steps_per_epoch = progress["steps_per_epoch"]
        # Checkpoints of older workers have none.
        self.shapes.epochs = progress.get("shapes", [])

    def record_shapes(self, applied: nn.Module, example_batch: Any) -> None:
        """Record the learned curves after this epoch."""
        shown = self.shown(applied)
        # The grid of a curve follows its inputs, and has no meaning once these are not finite.
        if is_finite(shown):
            self.shapes.record(self.finished, shown, example_batch)

    def shown(self, applied: nn.Module) -> nn.Module:
        """Return the network whose curves to show: the result, if it is a copy of `applied`."""
        same = self.result.state_dict().keys() == applied.state_dict().keys()
        return self.result if same else applied
