"""What the trainings show, in Markdown: means, spreads, differences, and what could be told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from statistics import mean, stdev

from scipy import stats

from service.verdict import Sample, compare
from tests.benchmarks.evidence.plan import (
    BOUNDS,
    EVERYWHERE,
    RATES,
    REDUCTIONS,
    SEEDS,
    SEGMENTS,
    Run,
)
from tests.benchmarks.evidence.trainer import Result

Results = Mapping[Run, Result]
POWER = 0.8


def tables(results: Results) -> str:
    """Return all tables; a row whose trainings are not all there is left out."""
    parts = [
        "## Each activation everywhere, at the recipe's rate\n",
        _table(results, EVERYWHERE, fixed),
        "## Each activation everywhere, at the best of three rates by validation\n",
        _table(results, EVERYWHERE, best_rate),
        "## PWLU by number of segments\n",
        _table(results, (EVERYWHERE[0], *SEGMENTS), fixed),
        "## PWLU with fixed bounds [-X, X], and realigned\n",
        _table(results, (EVERYWHERE[0], *BOUNDS, Run("pwlu")), fixed),
        "## Meta-ACON by reduction\n",
        _table(results, (EVERYWHERE[0], *REDUCTIONS), fixed),
    ]
    return "\n".join(parts)


def fixed(results: Results, run: Run) -> tuple[float, list[Result]]:
    """Return the results of all seeds at the recipe's own rate; empty unless all are there."""
    return 1.0, _seeds(results, run, 1.0)


def best_rate(results: Results, run: Run) -> tuple[float, list[Result]]:
    """Return the rate with the best mean validation accuracy, and its results."""
    by_rate = {rate: _seeds(results, run, rate) for rate in RATES}
    if not all(by_rate.values()):
        return 1.0, []
    return max(by_rate.items(), key=lambda item: mean(r.validation[-1] for r in item[1]))


def detectable(samples: Sequence[Sequence[float]]) -> float:
    """Return the smallest true difference that two samples show in four cases of five.

    By the pooled spread, for a two-sided t-test of 5 %.
    """
    spread = sqrt(mean(stdev(sample) ** 2 for sample in samples))
    n = min(len(sample) for sample in samples)
    freedom = 2 * n - 2
    reach = stats.t.ppf(0.975, freedom) + stats.t.ppf(POWER, freedom)
    return float(reach * spread * sqrt(2 / n))


def _seeds(results: Results, run: Run, rate: float) -> list[Result]:
    runs = [Run(run.name, run.params, run.widths, rate, seed) for seed in SEEDS]
    found = [results[one] for one in runs if one in results]
    return found if len(found) == len(runs) else []


def _table(
    results: Results,
    runs: Iterable[Run],
    choose: Callable[[Results, Run], tuple[float, list[Result]]],
) -> str:
    rows, samples = [], []
    reference: Sample | None = None
    for run in runs:
        rate, found = choose(results, run)
        if not found:
            continue
        sample = Sample(run.label, tuple(result.test for result in found))
        reference = reference or sample
        samples.append(sample.values)
        rows.append(_row(sample, reference, rate, found[0]))
    if len(samples) < 2:
        return "Not trained yet.\n"
    head = (
        f"| network | rate | parameters | test accuracy, % | against {reference.label}, points |\n"
        "|---|---:|---:|---:|---:|\n"
    )
    note = (
        f"\nMeans and standard deviations over {len(SEEDS)} seeds; differences with Welch's 95 % "
        f"interval, each by itself. With this spread a true difference of "
        f"{100 * detectable(samples):.2f} points is found in four cases of five.\n"
    )
    return head + "\n".join(rows) + "\n" + note


def _row(sample: Sample, reference: Sample, rate: float, result: Result) -> str:
    values = [100 * value for value in sample.values]
    difference = "-"
    if sample is not reference:
        found = compare(sample, reference, maximize=True)
        middle, low, high = (100 * v for v in (found.difference, found.low, found.high))
        told = "" if low > 0 or high < 0 else " (not told from 0)"
        difference = f"{middle:+.2f} [{low:.2f}, {high:.2f}]{told}"
    accuracy = f"{mean(values):.2f} ± {stdev(values):.2f}"
    return f"| {sample.label} | {rate:g}x | {result.parameters:,} | {accuracy} | {difference} |"
