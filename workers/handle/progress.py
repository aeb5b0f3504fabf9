"""A training that is under way, and its checkpoints."""

from torch import nn
from torch.optim import Optimizer

from workers.handle import checkpoint
from workers.handle.phases import Course
from workers.handle.protocol import Stateful
from workers.handle.unwrapping import network_of, optimizer_of
from workers.measurement.learned_shapes import ShapeHistory


class Underway:
    """What is being trained, and how far it has come."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        others: tuple[Stateful, ...],
        course: Course,
        epochs: int,
        evaluated: nn.Module | None,
        shapes: ShapeHistory,
    ) -> None:
        self.shapes = shapes
        self.result = network_of(model if evaluated is None else evaluated)
        self.course = course
        self.epochs = epochs
        self.finished = 0
        self._model = network_of(model)
        self._optimizer = optimizer_of(optimizer)
        self._others = others

    def end_epoch(self, epoch: int) -> None:
        self.course.end_epoch()
        self.finished = epoch + 1

    def save(self) -> bytes:
        progress = {
            "epoch": self.finished,
            "steps": self.course.steps,
            "steps_per_epoch": self.course.steps_per_epoch,
            "shapes": self.shapes.epochs,
        }
        return checkpoint.save(self._model, self._optimizer, self._others, progress)

    def restore(self, data: bytes) -> None:
        progress = checkpoint.restore(data, self._model, self._optimizer, self._others)
        self.finished = progress["epoch"]
        self.course.steps = progress["steps"]
        self.course.steps_per_epoch = progress["steps_per_epoch"]
        self.shapes.epochs = progress.get("shapes", [])
