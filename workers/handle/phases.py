"""Activations with two phases: they switch at a certain step of the optimizer."""

import time
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_space.activations.learned import PhasedActivation, phased_modules
from search_space.phases import LARGEST_PART, LEAST_STEPS, switch, switch_step
from workers.handle.unwrapping import network_of, optimizer_of


class PhaseScheduler:
    """Counts the optimizer's steps and switches the activations' phases at the right one.

    The number of steps in an epoch is given, or counted in the first epoch. Counted, it comes
    too late for a switch inside that epoch: then the switch is at the end of the first epoch,
    which is within the first fifth of five epochs or more. With fewer epochs it is after 50
    steps, or at the end of the first epoch if that is shorter. Everything depends on step counts
    only, so a resumed training switches where an uninterrupted one does.

    Args:
        share: Fraction of all steps that the first phase lasts.
        others: Copies of the network among them switch with it.
        micro_batches: More than 1: the forward passes of one step are parts of one batch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        others: Sequence[object] = (),
        *,
        share: float,
        epochs: int,
        micro_batches: int = 1,
    ) -> None:
        self.steps = 0
        self.steps_per_epoch: int | None = None
        self._model = network_of(model)
        self._optimizer = optimizer = optimizer_of(optimizer)
        self._copies = [network_of(other) for other in others if isinstance(other, nn.Module)]
        self._share = share
        self._epochs = epochs
        self._timed = 0
        self._first = self._last = 0.0
        self._switched = False
        self._in_parts = list(phased_modules(self._model)) if micro_batches > 1 else []
        for module in self._in_parts:
            module.gather_parts()
        # On the optimizer, not on batches: the steps count, and gradients may be accumulated.
        self._hook = optimizer.register_step_post_hook(self._after_step)

    @property
    def step_seconds(self) -> float | None:
        """Mean seconds between two steps of this epoch; None before the second step."""
        if self._timed < 2:
            return None
        return (self._last - self._first) / (self._timed - 1)

    def begin_epoch(self) -> None:
        self._timed = 0

    def end_epoch(self) -> None:
        if self.steps_per_epoch is None and self.steps:
            self.steps_per_epoch = self.steps
        self._switch_if_due()

    def close(self) -> None:
        self._hook.remove()

    def _after_step(self, *_: Any) -> None:
        self.steps += 1
        self._last = time.perf_counter()
        self._first = self._last if self._timed == 0 else self._first
        self._timed += 1
        for module in self._in_parts:
            module.end_batch()
        self._switch_if_due()

    def _switch_if_due(self) -> None:
        at = None if self._switched else self._switch_at()
        if at is not None and self.steps >= at:
            self._switched = True
            self._in_parts = []
            switch(self._model, self._optimizer)
            for copy in self._copies:
                _copy_switched(copy, self._model)

    def _switch_at(self) -> int | None:
        if self.steps_per_epoch is not None:
            return switch_step(self._share, self.steps_per_epoch * self._epochs)
        return LEAST_STEPS if self._epochs < LARGEST_PART else None


def _copy_switched(copy: nn.Module, model: nn.Module) -> None:
    """Let the activations of a weight average, a copy of `model`, switch with it.

    They get the values of the network: the values that they averaged before the switch are not
    those of the parameters that are trained now.
    """
    twins = dict(model.named_modules())
    for path, module in copy.named_modules():
        # Averages of other libraries hold their copy as `module`.
        twin = twins.get(path) or twins.get(path.removeprefix("module."))
        if isinstance(module, PhasedActivation) and twin is not None and module.collecting:
            module.load_state_dict(twin.state_dict())
