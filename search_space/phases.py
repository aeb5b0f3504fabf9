"""Ends the statistics phase of activations that have one."""

import math
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_space.activations.learned import phased_modules

# The statistics need this many steps, and may take at most one part in five of the training.
LEAST_STEPS = 50
LARGEST_PART = 5


def switch_step(share: float, total: int) -> int:
    """Return the optimizer step after which the phase ends.

    It lasts `share` of all steps, and at least the 50 that the statistics need, but at most a
    fifth of the training: the parameters need the rest.
    """
    return max(1, min(max(math.ceil(share * total), LEAST_STEPS), total // LARGEST_PART))


def switch(model: nn.Module, optimizer: Optimizer) -> None:
    """Realign every activation in `model` that still collects statistics; then it learns."""
    for module in phased_modules(model):
        if module.collecting and not module.frozen:
            module.realign()
            # Momentum of the old values would move the new ones in a wrong direction.
            for parameter in module.parameters():
                optimizer.state.pop(parameter, None)


class Phases:
    """Ends the phases in your own training loop: call `step()` after each optimizer step.

    Args:
        steps: Optimizer steps of the whole training; None: unknown, the phases end after 50.
        share: Share of these steps for the statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        steps: int | None = None,
        share: float = 0.05,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._last = LEAST_STEPS if steps is None else switch_step(share, steps)
        self.taken = 0

    def step(self) -> None:
        """Count one optimizer step; end the phases after their last."""
        self.taken += 1
        if self.taken == self._last:
            switch(self._model, self._optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = state_dict["taken"]
