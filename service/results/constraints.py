"""The constraints of a trial, for samplers: limits, and failures that a candidate causes."""

from typing import Any

from search_space.contract import FailureClass
from service.store.models import Search, Trial

INFEASIBLE = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED, FailureClass.INFEASIBLE)
"""The failures that the candidate causes, not the machine or the task's code."""

CANNOT_BE_TRAINED = "infeasible"
"""Name of the constraint that a candidate with such a failure violates."""


def violations(search: Search, trial: Trial, *, is_trained: bool = False) -> dict[str, float]:
    """Return all constraints of the search for a trial that has ended; above 0 is violated.

    The value of a limit is the lower end of the ratio's interval minus the limit. It is 0 if the
    trial failed before the ratio was measured.

    Args:
        is_trained: Whether this or another trial has trained the candidate to its end.
    """
    ratios, limits = _ratios(trial), _limits(search)
    found = {
        name: ratios[name]["low"] - limit if name in ratios else 0.0
        for name, limit in limits.items()
    }
    cannot = trial.failure in INFEASIBLE and not is_trained
    # A limit that explains the failure is enough: the same cause must not count twice.
    is_unexplained = cannot and not any(v > 0 for v in found.values())
    return {CANNOT_BE_TRAINED: float(is_unexplained), **found}


def unmeasured_limits(search: Search, trial: Trial) -> set[str]:
    """Return the ratios that the search limits and the trial has not measured."""
    return _limits(search).keys() - _ratios(trial).keys()


def _limits(search: Search) -> dict[str, float]:
    limits = search.document["constraints"].items()
    return {name: limit for name, limit in limits if limit}


def _ratios(trial: Trial) -> dict[str, Any]:
    return dict((trial.measurements or {}).get("ratios", {}))
