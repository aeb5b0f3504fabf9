"""Suggests parameters by an Optuna trial, and records distributions without one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search_space.search_sections import Range

Params = Mapping[str, Any]


class TrialLike(Protocol):
    """The methods of an Optuna trial that the space calls."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...


def suggest(
    trial: TrialLike, params: dict[str, Any], name: str, values: Sequence[Any] | Range
) -> None:
    """Add the value that a trial suggests to `params`; a single value is no parameter."""
    if isinstance(values, Range):
        params[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
    elif len(values) > 1:
        params[name] = trial.suggest_categorical(name, tuple(values))


def default(values: Sequence[float] | Range) -> float:
    """Return the value of a hyperparameter that was not suggested."""
    return values.low if isinstance(values, Range) else values[0]


def contains(values: Sequence[float] | Range, value: float) -> bool:
    """Whether a trial can suggest `value` for a hyperparameter."""
    if isinstance(values, Range):
        return values.low <= value <= values.high
    return value in values


class DistributionRecorder:
    """Suggests the first or lowest value of each parameter, and records the distributions."""

    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.distributions[name] = CategoricalDistribution(tuple(choices))
        return choices[0]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log)
        return low
