"""An exponential moving average of the weights, often better than the last weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from search_space.activations.learned import phased_modules


class Average:
    """Averages the parameters of a network: `a = decay a + (1 - decay) w`, after every step.

    While an activation still collects statistics, the average equals the weights: weights from
    before the switch of phases belong to another function. Early averages have a smaller decay,
    n / (10 + n) after n steps, so that the first weights lose their influence soon. Buffers, such
    as running means, are those of the network.

    Args:
        decay: None: no average.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self._decay = decay
        self._model = model
        self._parameters: list[Tensor] = [] if decay is None else list(model.parameters())
        self._averages = [p.detach().clone() for p in self._parameters]
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step."""
        if self._decay is None:
            return
        collecting = any(module.collecting for module in phased_modules(self._model))
        decay = min(self._decay, self._steps / (10 + self._steps))
        self._steps = 0 if collecting else self._steps + 1
        torch._foreach_lerp_(self._averages, self._parameters, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the network has the averaged weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights of the network and their average."""
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "averages": list(self._averages)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._steps = state_dict["steps"]
        saved: list[Tensor] = state_dict["averages"]
        for average, value in zip(self._averages, saved, strict=True):
            average.copy_(value)
