"""What may be claimed of a winner: a function of its and its rivals' test results alone.

The number of seeds was fixed beforehand, the winner was chosen on validation data, and all of
these results are on test data that nothing else has looked at, but earlier verdicts on the search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from search_space.contract import is_fraction

LEVEL = 0.05
"""Probability that any of the two claims is made though there is nothing to it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A network's test results over fresh seeds."""

    label: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The winner less a rival, positive when the winner is better.

    Attributes:
        low: Lower end of Welch's 95 % interval of the difference.
        p: Welch's two-sided p-value.
        holds: Whether the difference is told from noise, after Holm's correction and that for
            earlier looks at test data.
    """

    against: str
    difference: float
    low: float
    high: float
    p: float
    holds: bool = False


def judge(
    winner: Sample,
    originals: Sequence[Sample],
    uniform: Sample | None,
    *,
    maximize: bool,
    looks: int = 1,
) -> list[Comparison]:
    """Compare the winner with the better of the originals and with the best uniform network.

    Taking the better of the originals by its test results favours the rival, not the winner.

    Args:
        looks: How often test data decided on a winner of this search, this time included.
    """
    better = (max if maximize else min)(originals, key=lambda sample: sample.mean)
    rivals = [better] if uniform is None else [better, uniform]
    compared = [compare(winner, rival, maximize=maximize) for rival in rivals]
    return holm(compared, level_of(looks))


def level_of(looks: int) -> float:
    """Return the level of a look at test data; each has half of that of the look before.

    A claim of a gain is one-sided and takes half of a level. So all looks together make one where
    there is nothing with a probability of `LEVEL` at most, however often somebody looks again.
    """
    return float(LEVEL / 2 ** (looks - 1))


def compare(winner: Sample, rival: Sample, *, maximize: bool) -> Comparison:
    """Return Welch's comparison; two samples without any spread differ surely, or not at all."""
    sign = 1 if maximize else -1
    ours, theirs = ([sign * value for value in sample.values] for sample in (winner, rival))
    difference = mean(ours) - mean(theirs)
    if stdev(ours) == 0 and stdev(theirs) == 0:
        p = 1.0 if difference == 0 else 0.0
        return Comparison(rival.label, difference, difference, difference, p)
    # scipy takes a while to import and is needed here alone.
    from scipy.stats import ttest_ind

    result = ttest_ind(ours, theirs, equal_var=False)
    interval = result.confidence_interval(1 - LEVEL)
    return Comparison(
        rival.label, difference, float(interval.low), float(interval.high), float(result.pvalue)
    )


def holm(comparisons: Sequence[Comparison], level: float = LEVEL) -> list[Comparison]:
    """Mark the comparisons that hold together at `level` (Holm's step-down)."""
    holding: set[str] = set()
    for rank, comparison in enumerate(sorted(comparisons, key=lambda one: one.p)):
        if comparison.p > level / (len(comparisons) - rank):
            break
        holding.add(comparison.against)
    return [
        Comparison(one.against, one.difference, one.low, one.high, one.p, one.against in holding)
        for one in comparisons
    ]


def word(comparisons: Sequence[Comparison], metric: str, cost: str) -> str:
    """Put comparisons into words; the first is that with the original network."""
    over_original, *others = comparisons
    parts = [f"{_clause(over_original, metric)} on test data, {cost}"]
    parts += [_clause(other, metric) for other in others]
    return "; ".join(parts)


def _clause(one: Comparison, metric: str) -> str:
    verdict = "" if one.holds else "cannot be told from noise: "
    return f"{verdict}{_difference(one, metric)} over the {one.against}"


def _difference(one: Comparison, metric: str) -> str:
    """Write a difference with its interval; that of fractions in points."""
    low, middle, high = one.low, one.difference, one.high
    if is_fraction(metric):
        return f"{100 * middle:+.2f} points [{100 * low:.2f}, {100 * high:.2f}]"
    return f"{middle:+.4g} [{low:.4g}, {high:.4g}]"
