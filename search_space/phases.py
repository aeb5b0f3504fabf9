"""When activations with phases stop watching their input and begin to learn."""

import math
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_space.activations.learned import phased_modules

# What the statistics need; and the parameters need the rest of the training but this part.
LEAST_STEPS = 50
LARGEST_PART = 5


def switch_step(share: float, total: int) -> int:
    """Return the optimizer step after which the phase ends.

    It lasts `share` of all steps, raised to 50, which the statistics need, but never above a
    fifth of the training, which the parameters need.
    """
    return max(1, min(max(math.ceil(share * total), LEAST_STEPS), total // LARGEST_PART))


def switch(model: nn.Module, optimizer: Optimizer) -> None:
    """Let everything in `model` that still collects statistics fit itself to them, and learn."""
    for module in phased_modules(model):
        if module.collecting and not module.frozen:
            module.realign()
            # Momentum gathered for the old values would push the new ones astray.
            for parameter in module.parameters():
                optimizer.state.pop(parameter, None)


class Phases:
    """Ends the phases in a training loop of one's own: `step()` after each optimizer step.

    Args:
        steps: Optimizer steps of the whole training; None: unknown, and the phases end after 50.
        share: The share of them that the statistics take.
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
        """Count one optimizer step, and end the phases if it was their last."""
        self.taken += 1
        if self.taken == self._last:
            switch(self._model, self._optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = state_dict["taken"]
