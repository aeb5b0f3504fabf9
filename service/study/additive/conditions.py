"""On what conditional parameters depend, as the trials of a study show."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from service.study.additive.space import Parent, named_parents


def observed_parents(
    trials: Sequence[Mapping[str, Any]], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Parent]:
    """Return the categorical parameter that decides, in all trials, whether another is there.

    What a name states is not doubted. Of several that would do, the one with the fewest values
    that call for the parameter is taken, then the one that was asked for last.
    """
    parents = named_parents(distributions)
    partial = [n for n in distributions if n not in parents and not all(n in t for t in trials)]
    for name in partial:
        found = [
            parent
            for other, distribution in distributions.items()
            if isinstance(distribution, CategoricalDistribution)
            and other != name
            and not _depends(other, name, parents)
            for parent in _deciding(name, other, distribution, trials)
        ]
        if found:
            # The last of equals: a condition is tested shortly before what it decides.
            parents[name] = min(reversed(found), key=lambda parent: len(parent.choices))
    return parents


def _deciding(
    name: str,
    other: str,
    distribution: CategoricalDistribution,
    trials: Sequence[Mapping[str, Any]],
) -> list[Parent]:
    """Return the other parameter as the parent, if the trials do not speak against it."""
    there, missing = set[int](), set[int]()
    for params in trials:
        try:
            value = int(distribution.to_internal_repr(params[other])) if other in params else -1
        except ValueError:
            return []
        (there if name in params else missing).add(value)
    decides = -1 not in there and not there & missing
    return [Parent(other, frozenset(there))] if decides else []


def _depends(name: str, other: str, parents: Mapping[str, Parent]) -> bool:
    """Whether one parameter depends on another, directly or not."""
    while name in parents:
        name = parents[name].name
        if name == other:
            return True
    return False
