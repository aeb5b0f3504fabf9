"""Counting the steps of a trial, whose activations switch phases at the right one."""

import time
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_space.activations.learned import PhasedActivation, phased_modules
from search_space.phases import LARGEST_PART, LEAST_STEPS, switch, switch_step
from workers.handle.unwrapping import network_of, optimizer_of


class Course:
    """Counts an optimizer's steps and ends the phases at the right one.

    How many steps an epoch has is told, or learned from the first epoch. Learned, it is too
    late for a switch inside that epoch: the switch then comes at its end, which is within the
    first fifth of five epochs or more. With fewer, it comes after 50 steps, or at the end of
    the first epoch if that is shorter. All of it depends on step counts alone, so a resumed
    training switches where an uninterrupted one does.

    Args:
        others: Copies of the network among them switch with it.
        micro_batches: More than 1: the passes of one step are parts of one batch.
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
        self._hook = optimizer.register_step_post_hook(self._after_step)

    @property
    def step_seconds(self) -> float | None:
        """Mean time from one step of this epoch to the next; what follows the last is not in."""
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
                _follow(copy, self._model)

    def _switch_at(self) -> int | None:
        if self.steps_per_epoch is not None:
            return switch_step(self._share, self.steps_per_epoch * self._epochs)
        return LEAST_STEPS if self._epochs < LARGEST_PART else None


def _follow(copy: nn.Module, model: nn.Module) -> None:
    """Let the activations of an average of the weights, a copy of `model`, switch with it.

    They become those of the network: what they averaged before the switch were not the
    parameters that train.
    """
    twins = dict(model.named_modules())
    for path, module in copy.named_modules():
        # Averages of other libraries hold their copy as `module`.
        twin = twins.get(path) or twins.get(path.removeprefix("module."))
        if isinstance(module, PhasedActivation) and twin is not None and module.collecting:
            module.load_state_dict(twin.state_dict())
