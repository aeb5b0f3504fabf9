"""The training loop of the built-in tasks. It uses the same handle as every training script."""

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
from workers.training.diagnostics import ActivationDiagnostics
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

    Each batch is split into as many parts as the trial requests, whose gradients are accumulated.

    Args:
        model: On the device of the data.
        batch_size: Samples of an epoch that do not fill a last batch are left out of it.
        goal: None: classification, with the recipe's label smoothing.
        test: Used once, after the last epoch, and only in a confirmation.
        compiled: Use `torch.compile`, which saves time in long trainings on a GPU.

    Raises:
        Diverged: If the training loss of an epoch is not finite.
    """
    device = data.device
    goal = goal or classification(recipe.label_smoothing)
    batch_size = min(batch_size, len(data))
    steps = len(data) // batch_size
    examples = data.examples()
    precision = Precision(device)
    parts = min(trial.micro_batches, batch_size)

    def evaluate_on(network: nn.Module, data: Data) -> dict[str, float]:
        return evaluate(network, data, precision, goal, parts=parts)

    def loss(network: nn.Module) -> float:
        return evaluate_on(network, validation)["loss"]

    fused = _fused(device)
    model = _channels_last(trial.apply(model, examples, fused=fused, loss=loss), device)
    if precision.dtype is not torch.float32:
        _warn(trial, rounding_remark(model, examples, precision.autocast()))
    if parts > 1:
        trial.warn(f"each batch was computed in {parts} parts, since memory had run out")
    optimizer = make_optimizer(trial, model, recipe)
    scheduler = make_schedule(optimizer, recipe, steps * epochs)
    average = Average(model, recipe.average)
    diagnostics = ActivationDiagnostics(model, live=not compiled)
    forward = torch.compile(model) if compiled else model
    step = _Step(model, forward, goal, optimizer, precision, recipe.clip, parts)
    stateful = scheduler, precision.scaler, average
    for epoch in trial.epochs(epochs, model, optimizer, *stateful, steps_per_epoch=steps):
        total = torch.zeros((), device=device)
        with diagnostics.epoch():
            for x, targets in data.epoch(epoch, batch_size):
                total += step(x, targets)
                scheduler.step()
                average.update()
                diagnostics.after_step()
        # `item` waits for the device, once per epoch: after each step, the device would idle
        # while the host prepares the next one.
        train_loss = total.item() / steps
        if not math.isfinite(train_loss):
            raise Diverged(epoch + 1, "train_loss", train_loss, diagnostics.origin())
        _warn(trial, *diagnostics.check(examples, precision, train_loss))
        # Evaluated, and reported, are the averaged weights; trained are the others.
        with average.in_place():
            metrics = evaluate_on(model, validation)
        trial.report(epoch, train_loss=train_loss, **_named("validation", metrics))
    # The averaged weights are the trial's result.
    average.swap()
    if test is not None:
        trial.report_test(**_named("test", evaluate_on(model, test)))


@dataclass(frozen=True, slots=True)
class _Step:
    """Makes one step of the optimizer on a batch in parts; returns its loss, on the device."""

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
            # The mean loss of the batch is the mean over its parts, weighted by their sizes.
            loss = loss * (len(inputs) / len(x))
            torch.autograd.backward(scaler.scale(loss))
            total += loss.detach()
        if self.clip is not None:
            # The limit is for the gradients themselves, not for the scaled ones of float16.
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        scaler.step(self.optimizer)
        scaler.update()
        return total


def _fused(device: torch.device) -> bool:
    """Whether to use fused kernels: on a CPU only, since those for GPUs were not measured yet."""
    return device.type == "cpu" and kernels.available("cpu")


def _channels_last(model: Model, device: torch.device) -> Model:
    """Return the model in the memory format channels-last on a GPU, where that is faster."""
    if device.type != "cuda":
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _warn(trial: Trial, *remarks: str | None) -> None:
    for remark in remarks:
        if remark is not None:
            trial.warn(remark)


def _named(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in metrics.items()}
