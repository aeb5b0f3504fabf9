"""Drawing parameters from an Optuna trial, or all there are from none."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search_space.search import Range

Params = Mapping[str, Any]


class Suggester(Protocol):
    """The part of an Optuna trial that the space needs."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...


def draw(
    trial: Suggester, params: dict[str, Any], name: str, values: Sequence[Any] | Range
) -> None:
    """Draw one parameter into `params`; a single value is no parameter."""
    if isinstance(values, Range):
        params[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
    elif len(values) > 1:
        params[name] = trial.suggest_categorical(name, tuple(values))


def first(values: Sequence[float] | Range) -> float:
    """Return the value that stands for a hyperparameter which was not drawn."""
    return values.low if isinstance(values, Range) else values[0]


def contains(values: Sequence[float] | Range, value: float) -> bool:
    """Whether a hyperparameter could be drawn as `value`."""
    if isinstance(values, Range):
        return values.low <= value <= values.high
    return value in values


class Lowest:
    """Answers with the first of what it is asked for, and notes the distributions."""

    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.distributions[name] = CategoricalDistribution(tuple(choices))
        return choices[0]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log)
        return low
