"""The statistics of a verdict: t-tests of the winner against its rivals, on test data.

The number of seeds was fixed at submission, and the winner was chosen on validation data. Nothing
else uses the test data, apart from earlier verdicts on the same search, which `looks` counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from service.schemas.labels import interval_text

LEVEL = 0.05
"""Probability of at least one false claim of a difference (family-wise error rate)."""


ROUNDING = 1e-12
"""Relative to the values: a smaller standard error is that of equal numbers."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The test results of a network, one for each fresh seed.

    Attributes:
        seeds: Which seed each value is of, where networks share their seeds; else empty.
    """

    label: str
    values: tuple[float, ...]
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        return mean(self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The winner minus a rival; positive if the winner is better.

    Attributes:
        low: Lower end of the 95 % interval of the difference.
        p: The two-sided p-value.
        holds: Whether the difference is statistically significant, after Holm's correction and
            that for earlier looks at test data.
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

    The better of the originals is chosen by its test results, which favours the rival and not the
    winner, so the test stays valid.

    Args:
        looks: How often test data decided on a winner of this search, this time included.
    """
    better = (max if maximize else min)(originals, key=lambda sample: sample.mean)
    rivals = [better] if uniform is None else [better, uniform]
    compared = [compare(winner, rival, maximize=maximize) for rival in rivals]
    return holm(compared, level_of(looks))


def level_of(looks: int) -> float:
    """Return the level of a verdict on test data: half of that of the verdict before.

    A claim of a gain is one-sided and spends half of a level. So the levels of all looks add up to
    `LEVEL`, however many there are (alpha spending).
    """
    return float(LEVEL / 2 ** (looks - 1))


def compare(winner: Sample, rival: Sample, *, maximize: bool) -> Comparison:
    """Compare two samples: by Student's paired test within shared seeds, else by Welch's test.

    Without any variance the test is undefined: then p is 1 for equal means, else 0.
    """
    sign = 1 if maximize else -1
    pairs = _pairs(winner, rival)
    if pairs is not None:
        difference, error, degrees = _paired([sign * (ours - theirs) for ours, theirs in pairs])
    else:
        difference, error, degrees = _welch(winner.values, rival.values)
        difference *= sign
    # Differences that are equal but for rounding have no variance.
    if error <= ROUNDING * max(map(abs, (*winner.values, *rival.values))):
        p = 1.0 if math.isclose(difference, 0, abs_tol=error) else 0.0
        return Comparison(rival.label, difference, difference, difference, p)
    # Imported here, since scipy takes long to load and little needs it.
    from scipy.stats import t

    reach = error * float(t.ppf(1 - LEVEL / 2, degrees))
    p = 2 * float(t.sf(abs(difference) / error, degrees))
    return Comparison(rival.label, difference, difference - reach, difference + reach, p)


def _paired(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean, its standard error and degrees of freedom of paired differences."""
    n = len(differences)
    return mean(differences), stdev(differences) / math.sqrt(n), n - 1


def _welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of two means, its standard error and Welch's degrees of freedom."""
    parts = [(stdev(values) ** 2 / len(values), len(values) - 1) for values in (ours, theirs)]
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / spread if spread else 1.0
    return mean(ours) - mean(theirs), math.sqrt(variance), degrees


def _pairs(winner: Sample, rival: Sample) -> list[tuple[float, float]] | None:
    """Return the values of two samples on the seeds that both have; None below two such seeds."""
    ours = dict(zip(winner.seeds, winner.values, strict=False))
    theirs = dict(zip(rival.seeds, rival.values, strict=False))
    shared = sorted(ours.keys() & theirs.keys())
    return [(ours[seed], theirs[seed]) for seed in shared] if len(shared) > 1 else None


def holm(comparisons: Sequence[Comparison], level: float = LEVEL) -> list[Comparison]:
    """Mark the comparisons that are significant at `level` by Holm's step-down procedure."""
    significant: set[str] = set()
    for rank, comparison in enumerate(sorted(comparisons, key=lambda one: one.p)):
        if comparison.p > level / (len(comparisons) - rank):
            break
        significant.add(comparison.against)
    return [
        Comparison(
            one.against, one.difference, one.low, one.high, one.p, one.against in significant
        )
        for one in comparisons
    ]


def describe(comparisons: Sequence[Comparison], metric: str, cost: str) -> str:
    """Return comparisons as text; the first is that with the original network."""
    over_original, *others = comparisons
    parts = [f"{_clause(over_original, metric)} on test data, {cost}"]
    parts += [_clause(other, metric) for other in others]
    return "; ".join(parts)


def _clause(one: Comparison, metric: str) -> str:
    verdict = "" if one.holds else "not statistically significant: "
    difference = interval_text(metric, one.difference, one.low, one.high)
    return f"{verdict}{difference} over the {one.against}"
