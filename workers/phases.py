"""Counting the steps of a trial, whose activations switch phases at the right one."""

import time
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_space.phases import LARGEST_PART, LEAST_STEPS, switch, switch_step


class Course:
    """Counts an optimizer's steps and ends the phases at the right one.

    How many steps an epoch has is told, or learned from the first epoch. Learned, it is too
    late for a switch inside that epoch: the switch then comes at its end, which is within the
    first fifth of five epochs or more. With fewer, it comes after 50 steps, or at the end of
    the first epoch if that is shorter. All of it depends on step counts alone, so a resumed
    training switches where an uninterrupted one does.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, *, share: float, epochs: int
    ) -> None:
        self.steps = 0
        self.steps_per_epoch: int | None = None
        self._model = model
        self._optimizer = optimizer
        self._share = share
        self._epochs = epochs
        self._timed = 0
        self._first = self._last = 0.0
        self._switched = False
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
        self._switch_if_due()

    def _switch_if_due(self) -> None:
        at = None if self._switched else self._switch_at()
        if at is not None and self.steps >= at:
            self._switched = True
            switch(self._model, self._optimizer)

    def _switch_at(self) -> int | None:
        if self.steps_per_epoch is not None:
            return switch_step(self._share, self.steps_per_epoch * self._epochs)
        return LEAST_STEPS if self._epochs < LARGEST_PART else None
