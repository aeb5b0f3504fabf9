"""The values of a trial, one for each objective of its search."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from search_space.search import objectives_in
from search_space.search_sections import RATIOS
from service.store.models import Search, Trial


def unmeasured(search: Search, trial: Trial) -> list[str]:
    """Return the objectives that are measured before training and are missing."""
    metrics = [objective["metric"] for objective in objectives_in(search.document)]
    ratios = (trial.measurements or {}).get("ratios", {})
    return [metric for metric in metrics if metric in RATIOS and metric not in ratios]


def values(search: Search, trial: Trial, last: Mapping[str, float]) -> list[float] | None:
    """Return the values of all objectives by the last report; None if there is only one."""
    objectives = objectives_in(search.document)
    if len(objectives) == 1:
        return None
    ratios = (trial.measurements or {}).get("ratios", {})
    metrics = [objective["metric"] for objective in objectives]
    return [ratios[name]["value"] if name in RATIOS else last[name] for name in metrics]


def maximizes(search: Search) -> bool:
    """Whether the first objective is maximized."""
    return bool(objectives_in(search.document)[0]["direction"] == "maximize")


def means(trials: Sequence[tuple[float | None, Sequence[float] | None]]) -> tuple[float, ...]:
    """Return the mean of each objective over (value, values) of trials; empty without any."""
    every = [several or [value] for value, several in trials if value is not None]
    return tuple(fmean(column) for column in zip(*every, strict=True))
