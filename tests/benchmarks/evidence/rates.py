"""Which learning rate a network gets: the best of the grid by validation, on the first seeds."""

from collections.abc import Mapping, Sequence
from statistics import mean

from tests.benchmarks.evidence.plan import CHOOSING_SEEDS, RATES, Edition, Run, trained
from tests.benchmarks.evidence.result import Result

Results = Mapping[Run, Result]


def chosen_rate(results: Results, run: Run) -> float | None:
    """Return the rate with the best mean validation accuracy; None before all are trained.

    A rate at which any training diverged is not chosen.
    """
    by_rate = {rate: found(results, trained(run, rate, CHOOSING_SEEDS)) for rate in RATES}
    if not all(by_rate.values()):
        return None
    return max(RATES, key=lambda rate: _validation(by_rate[rate]))


def missing(results: Results, edition: Edition) -> list[Run]:
    """Return what is to be trained, as far as the results so far tell."""
    runs = dict.fromkeys((*edition.beforehand(), *_demanded(results, edition)))
    return [run for run in runs if run not in results]


def _demanded(results: Results, edition: Edition) -> list[Run]:
    """Return what the choices made so far ask for: the chosen rate on all seeds."""
    rates = {run: chosen_rate(results, run) for run in edition.chosen}
    return [one for run, rate in rates.items() if rate is not None for one in trained(run, rate)]


def found(results: Results, runs: Sequence[Run]) -> list[Result]:
    """Return the results of all runs; empty unless all are there."""
    known = [results[run] for run in runs if run in results]
    return known if len(known) == len(runs) else []


def _validation(trainings: Sequence[Result]) -> float:
    if any(result.test is None for result in trainings):
        return float("-inf")
    return mean(result.validation[-1] for result in trainings)
