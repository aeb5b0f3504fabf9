"""What the trainings show, in Markdown: means, spreads, differences, and what could be told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import mean, stdev

from scipy import stats

from service.results.verdict import Comparison, Sample, compare, holm
from tests.benchmarks.evidence.plan import SEEDS, Edition, Run, trained
from tests.benchmarks.evidence.rates import Results, chosen_rate, found
from tests.benchmarks.evidence.result import Result

POWER = 0.8
Choose = Callable[[Results, Run], tuple[float, list[Result]]]
"""Which rate of a network counts, and its results."""


def tables(results: Results, edition: Edition) -> dict[str, str]:
    """Return every table by its title; a row whose trainings are not all there is left out."""
    made = {}
    for title, runs in edition.everywhere.items():
        made[f"{title}, at the recipe's rate"] = _table(results, runs, fixed)
        best = f"{title}, at the best of three rates by validation"
        made[best] = _table(results, runs, best_rate)
    for title, runs in edition.details.items():
        made[title] = _table(results, runs, fixed)
    return made


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
    choose: Choose,
) -> str:
    rows: list[_Row | str] = []
    for label, run in runs.items():
        rate, trainings = choose(results, run)
        if not trainings:
            continue
        values = [result.test for result in trainings if result.test is not None]
        if len(values) < len(trainings):
            rows.append(_diverged(label, rate, trainings, len(trainings) - len(values)))
        else:
            rows.append(_Row(Sample(label, tuple(values)), rate, trainings[0].parameters))
    compared = [row for row in rows if isinstance(row, _Row)]
    if len(compared) < 2 or compared[0].sample.label != next(iter(runs)):
        return "Not trained yet.\n"
    reference, *others = [row.sample for row in compared]
    # Each named by itself, as all of them are against the same one.
    found = holm(
        [replace(compare(one, reference, maximize=True), against=one.label) for one in others]
    )
    said = iter(["-", *(_difference(one) for one in found)])
    lines = [row if isinstance(row, str) else row.line(next(said)) for row in rows]
    head = (
        f"| network | rate | parameters | test accuracy, % | against {reference.label}, points |\n"
        "|---|---:|---:|---:|---:|\n"
    )
    least = detectable([row.sample.values for row in compared])
    note = (
        f"\nMeans and standard deviations over {len(SEEDS)} seeds; differences with Welch's 95 % "
        f"interval, each by itself; bold where it is told with Holm's correction over the table. "
        f"With this spread a true difference of {100 * least:.2f} points is found in four cases "
        f"of five.\n"
    )
    return head + "\n".join(lines) + "\n" + note


@dataclass(frozen=True, slots=True)
class _Row:
    """A network whose trainings all came to their end."""

    sample: Sample
    rate: float
    parameters: int

    def line(self, difference: str) -> str:
        values = [100 * value for value in self.sample.values]
        accuracy = f"{mean(values):.2f} ± {stdev(values):.2f}"
        label, size = self.sample.label, f"{self.parameters:,}"
        return f"| {label} | {self.rate:g}x | {size} | {accuracy} | {difference} |"


def _difference(found: Comparison) -> str:
    middle, low, high = (100 * value for value in (found.difference, found.low, found.high))
    said = f"{middle:+.2f} [{low:.2f}, {high:.2f}]"
    if found.holds:
        return f"**{said}**"
    return said if low > 0 or high < 0 else f"{said} (not told from 0)"


def _diverged(label: str, rate: float, trainings: Sequence[Result], count: int) -> str:
    parameters = trainings[0].parameters
    return f"| {label} | {rate:g}x | {parameters:,} | {count} of {len(trainings)} diverged | - |"
