"""Our own training loop, written on the handle that every training script uses."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from search_space import kernels
from workers.errors import Diverged
from workers.handle.protocol import Model, Trial
from workers.training.averaging import Average
from workers.training.batches import Data
from workers.training.diagnostics import Watch
from workers.training.evaluation import evaluate
from workers.training.goals import Goal, classification
from workers.training.optimizers import make_optimizer, make_schedule
from workers.training.precision import Precision
from workers.training.recipe import Recipe
from workers.training.rounding import rounding_remark


def train(
    trial: Trial,
    model: nn.Module,
    data: Data,
    validation: Data,
    recipe: Recipe,
    *,
    epochs: int,
    batch_size: int,
    goal: Goal | None = None,
    test: Data | None = None,
    compiled: bool = False,
) -> None:
    """Train `model` as one trial. Within an epoch the host never waits for the device.

    Each batch is computed in as many parts as the trial asks for; all that counts batches or
    steps counts whole ones.

    Args:
        model: On the device of the data.
        batch_size: The last samples of an epoch that do not fill a batch sit it out.
        goal: None: classification, with the recipe's label smoothing.
        test: Looked at once, after the last epoch, and only in a confirmation.
        compiled: Train by `torch.compile`, which pays in long trainings on a GPU.

    Raises:
        Diverged: If the training loss of an epoch is no finite number.
    """
    device = data.device
    goal = goal or classification(recipe.label_smoothing)
    batch_size = min(batch_size, len(data))
    steps = len(data) // batch_size
    examples = data.examples()
    precision = Precision(device)
    parts = min(trial.micro_batches, batch_size)

    def judge(network: nn.Module, data: Data) -> dict[str, float]:
        return evaluate(network, data, precision, goal, parts=parts)

    def loss(network: nn.Module) -> float:
        return judge(network, validation)["loss"]

    fused = _fused(device)
    model = _laid_out(trial.apply(model, examples, fused=fused, loss=loss), device)
    if precision.dtype is not torch.float32:
        _warn(trial, rounding_remark(model, examples, precision.autocast()))
    if parts > 1:
        trial.warn(f"each batch was computed in {parts} parts, since memory had run out")
    optimizer = make_optimizer(trial, model, recipe)
    scheduler = make_schedule(optimizer, recipe, steps * epochs)
    average = Average(model, recipe.average)
    watch = Watch(model, live=not compiled)
    forward = torch.compile(model) if compiled else model
    step = _Step(model, forward, goal, optimizer, precision, recipe.clip, parts)
    stateful = scheduler, precision.scaler, average
    for epoch in trial.epochs(epochs, model, optimizer, *stateful, steps_per_epoch=steps):
        total = torch.zeros((), device=device)
        with watch.epoch():
            for x, targets in data.epoch(epoch, batch_size):
                total += step(x, targets)
                scheduler.step()
                average.update()
                watch.after_step()
        # The first look at any number since the epoch began.
        train_loss = total.item() / steps
        if not math.isfinite(train_loss):
            raise Diverged(epoch + 1, "train_loss", train_loss, watch.origin())
        _warn(trial, *watch.look(examples, precision, train_loss))
        with average.in_place():
            metrics = judge(model, validation)
        trial.report(epoch, train_loss=train_loss, **_named("validation", metrics))
    average.swap()
    if test is not None:
        trial.report_test(**_named("test", judge(model, test)))


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of the optimizer, on a batch in parts; returns its loss, on the device."""

    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    goal: Goal
    optimizer: Optimizer
    precision: Precision
    clip: float | None
    parts: int

    def __call__(self, x: Tensor, targets: Tensor) -> Tensor:
        scaler = self.precision.scaler
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=x.device)
        for inputs, wanted in zip(x.chunk(self.parts), targets.chunk(self.parts), strict=True):
            with self.precision.autocast():
                loss = self.goal.loss(self.forward(inputs), wanted)
            # The mean over the batch is that of its parts, by their sizes.
            loss = loss * (len(inputs) / len(x))
            torch.autograd.backward(scaler.scale(loss))
            total += loss.detach()
        if self.clip is not None:
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        scaler.step(self.optimizer)
        scaler.update()
        return total


def _fused(device: torch.device) -> bool:
    """Triton's kernels have not been measured on a GPU yet; the plain activations have."""
    return device.type == "cpu" and kernels.available("cpu")


def _laid_out(model: Model, device: torch.device) -> Model:
    """Return the model with images channels-last where that is faster."""
    if device.type != "cuda":
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _warn(trial: Trial, *remarks: str | None) -> None:
    for remark in remarks:
        if remark is not None:
            trial.warn(remark)


def _named(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in metrics.items()}
