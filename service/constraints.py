"""What the sampler is told of a candidate that must not or cannot be trained."""

from search_space.contract import FailureClass
from service.store.models import Search, Trial

INFEASIBLE = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED, FailureClass.INFEASIBLE)
"""The failures that say something about the candidate."""

CANNOT_BE_TRAINED = "infeasible"
"""The constraint that such a candidate violates."""


def violations(search: Search, trial: Trial) -> dict[str, float]:
    """Return every constraint of the search, violated above 0, for a trial that has ended.

    A limit is violated by as much as the whole interval of the ratio lies over it. What was
    not measured before the trial failed violates no limit: nothing is known of it.
    """
    ratios = (trial.measurements or {}).get("ratios", {})
    limits = {name: limit for name, limit in search.document["constraints"].items() if limit}
    found = {
        name: ratios[name]["low"] - limit if name in ratios else 0.0
        for name, limit in limits.items()
    }
    is_in_itself = trial.failure in INFEASIBLE and not any(v > 0 for v in found.values())
    return {CANNOT_BE_TRAINED: float(is_in_itself), **found}
