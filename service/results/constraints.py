"""What the sampler is told of a candidate that must not or cannot be trained."""

from typing import Any

from search_space.contract import FailureClass
from service.store.models import Search, Trial

INFEASIBLE = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED, FailureClass.INFEASIBLE)
"""The failures that say something about the candidate."""

CANNOT_BE_TRAINED = "infeasible"
"""The constraint that such a candidate violates."""


def violations(search: Search, trial: Trial, *, is_trained: bool = False) -> dict[str, float]:
    """Return every constraint of the search, violated above 0, for a trial that has ended.

    A limit is violated by as much as the whole interval of the ratio lies over it. What was
    not measured before the trial failed violates no limit: nothing is known of it.

    Args:
        is_trained: Whether the candidate was trained to an end, by another trial if not by this.
    """
    ratios, limits = _ratios(trial), _limits(search)
    found = {
        name: ratios[name]["low"] - limit if name in ratios else 0.0
        for name, limit in limits.items()
    }
    cannot = trial.failure in INFEASIBLE and not is_trained
    is_in_itself = cannot and not any(v > 0 for v in found.values())
    return {CANNOT_BE_TRAINED: float(is_in_itself), **found}


def unmeasured_limits(search: Search, trial: Trial) -> set[str]:
    """Return what a search limits and a trial has not measured."""
    return _limits(search).keys() - _ratios(trial).keys()


def _limits(search: Search) -> dict[str, float]:
    limits = search.document["constraints"].items()
    return {name: limit for name, limit in limits if limit}


def _ratios(trial: Trial) -> dict[str, Any]:
    return dict((trial.measurements or {}).get("ratios", {}))
