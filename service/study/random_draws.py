"""Random parameters without a study."""

from typing import Any

import numpy as np


class RandomSuggester:
    """Draws parameters uniformly, by the interface of `optuna.Trial`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ARG002
        return choices[int(self._rng.integers(len(choices)))]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:  # noqa: ARG002
        if log:
            return float(np.exp(self._rng.uniform(np.log(low), np.log(high))))
        return float(self._rng.uniform(low, high))
