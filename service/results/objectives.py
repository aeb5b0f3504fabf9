"""The values that a trial comes to, one for each objective of its search."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from search_space.search import RATIOS, objectives_in
from service.store.models import Search, Trial


def unmeasured(search: Search, trial: Trial) -> list[str]:
    """Return the objectives that had to be measured before training, and were not."""
    metrics = [objective["metric"] for objective in objectives_in(search.document)]
    ratios = (trial.measurements or {}).get("ratios", {})
    return [metric for metric in metrics if metric in RATIOS and metric not in ratios]


def values(search: Search, trial: Trial, last: Mapping[str, float]) -> list[float] | None:
    """Return the values of several objectives by the last report; None where there is one."""
    objectives = objectives_in(search.document)
    if len(objectives) == 1:
        return None
    ratios = (trial.measurements or {}).get("ratios", {})
    metrics = [objective["metric"] for objective in objectives]
    return [ratios[name]["value"] if name in RATIOS else last[name] for name in metrics]


def maximizes(search: Search) -> bool:
    """Whether the first objective is to be large."""
    return bool(objectives_in(search.document)[0]["direction"] == "maximize")


def means(trials: Sequence[tuple[float | None, Sequence[float] | None]]) -> tuple[float, ...]:
    """Return the mean of each objective over (value, values) of trials; empty without any."""
    every = [several or [value] for value, several in trials if value is not None]
    return tuple(fmean(column) for column in zip(*every, strict=True))
