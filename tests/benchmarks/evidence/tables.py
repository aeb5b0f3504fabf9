"""What the trainings show, in Markdown: means, spreads, differences, and what could be told."""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import mean, stdev

from scipy import stats

from service.verdict import Sample, compare
from tests.benchmarks.evidence.plan import (
    BOUNDS,
    EVERYWHERE,
    REDUCTIONS,
    SEEDS,
    SEGMENTS,
    Run,
    trained,
)
from tests.benchmarks.evidence.rates import Results, chosen_rate, found
from tests.benchmarks.evidence.result import Result

RELU = {"ReLU": EVERYWHERE["ReLU"]}
POWER = 0.8


def tables(results: Results) -> str:
    """Return all tables; a row whose trainings are not all there is left out."""
    parts = [
        "## Each activation everywhere, at the recipe's rate\n",
        _table(results, EVERYWHERE, fixed),
        "## Each activation everywhere, at the best of three rates by validation\n",
        _table(results, EVERYWHERE, best_rate),
        "## PWLU by number of segments\n",
        _table(results, RELU | SEGMENTS, fixed),
        "## PWLU with fixed bounds [-X, X], and realigned\n",
        _table(results, RELU | BOUNDS, fixed),
        "## Meta-ACON by reduction\n",
        _table(results, RELU | REDUCTIONS, fixed),
    ]
    return "\n".join(parts)


def fixed(results: Results, run: Run) -> tuple[float, list[Result]]:
    """Return the results of all seeds at the recipe's own rate; empty unless all are there."""
    return 1.0, found(results, trained(run, 1.0))


def best_rate(results: Results, run: Run) -> tuple[float, list[Result]]:
    """Return the chosen rate, and the results of all seeds at it."""
    rate = chosen_rate(results, run)
    return (1.0, []) if rate is None else (rate, found(results, trained(run, rate)))


def detectable(samples: Sequence[Sequence[float]]) -> float:
    """Return the smallest true difference that two samples show in four cases of five.

    By the pooled spread, for a two-sided t-test of 5 %.
    """
    spread = sqrt(mean(stdev(sample) ** 2 for sample in samples))
    n = min(len(sample) for sample in samples)
    freedom = 2 * n - 2
    reach = stats.t.ppf(0.975, freedom) + stats.t.ppf(POWER, freedom)
    return float(reach * spread * sqrt(2 / n))


def _table(
    results: Results,
    runs: Mapping[str, Run],
    choose: Callable[[Results, Run], tuple[float, list[Result]]],
) -> str:
    rows, samples = [], []
    reference: Sample | None = None
    for label, run in runs.items():
        rate, trainings = choose(results, run)
        if not trainings:
            continue
        values = [result.test for result in trainings if result.test is not None]
        if len(values) < len(trainings):
            rows.append(_diverged(label, rate, trainings, len(trainings) - len(values)))
            continue
        sample = Sample(label, tuple(values))
        reference = reference or sample
        samples.append(sample.values)
        rows.append(_row(sample, reference, rate, trainings[0]))
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
        against = compare(sample, reference, maximize=True)
        middle, low, high = (100 * v for v in (against.difference, against.low, against.high))
        told = "" if low > 0 or high < 0 else " (not told from 0)"
        difference = f"{middle:+.2f} [{low:.2f}, {high:.2f}]{told}"
    accuracy = f"{mean(values):.2f} ± {stdev(values):.2f}"
    return f"| {sample.label} | {rate:g}x | {result.parameters:,} | {accuracy} | {difference} |"


def _diverged(label: str, rate: float, trainings: Sequence[Result], count: int) -> str:
    parameters = trainings[0].parameters
    return f"| {label} | {rate:g}x | {parameters:,} | {count} of {len(trainings)} diverged | - |"
