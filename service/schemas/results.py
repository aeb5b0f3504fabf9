"""What the API answers about what a search has found."""

from typing import Any, Literal

from search_space.contract import TrialKind
from service.schemas.base import Answer


class OriginalAnswer(Answer):
    """The network as it came: its value over seeds. `spread` is the standard deviation."""

    mean: float | None
    spread: float | None
    values: list[float]
    step_seconds: float | None


class RankedAnswer(Answer):
    """One line of the ranking: a candidate, with its mean over `seeds` trainings.

    `gain` is against the original's mean, positive when better; `step_ratio` is the time of a
    training step against the original's. `estimate` is what the sampler's model expects of the
    candidate, with its 90 % interval, and `beats_uniform` the probability that it is better than
    the best uniform network; the ranking is by the estimate where there is one.
    """

    rank: int
    trial: str
    number: int
    kind: TrialKind
    label: str | None
    value: float
    seeds: int
    estimate: float | None
    estimate_low: float | None
    estimate_high: float | None
    beats_uniform: float | None
    gain: float | None
    step_seconds: float | None
    step_ratio: float | None
    candidate: dict[str, Any]


class ComparisonAnswer(Answer):
    """The winner minus a rival on test data; positive if the winner is better.

    `low` and `high` are the 95 % interval of the mean difference: by Student's paired test, since
    all networks have the same fresh seeds. (Confirmations of version 0.1 did not; theirs is
    Welch's.) `holds` says whether it is statistically significant, after Holm's correction over
    the comparisons and that for earlier looks at test data.
    """

    against: str
    difference: float
    low: float
    high: float
    p: float
    holds: bool


class ParetoAnswer(Answer):
    """A network that no other beats in all objectives, with its mean in each of them."""

    trial: str
    number: int
    label: str | None
    values: dict[str, float]
    candidate: dict[str, Any]


class AgreementAnswer(Answer):
    """How alike the search's length and the confirmation's rank the same `candidates`.

    `tau` is Kendall's: 1 for the same order, -1 for the opposite one.
    """

    tau: float | None
    candidates: int
    epochs: int | None
    confirm_epochs: int


class StopsAnswer(Answer):
    """What the pruner did, and how often it was wrong.

    Of `stopped` trials `ran_on` were trained to their end all the same; of these so many came out
    better than the median, or the best, of the trials that were not stopped.
    """

    stopped: int
    ran_on: int
    beat_median: int
    beat_best: int


class BestAnswer(Answer):
    """The ranking, and what may be claimed.

    `status` is `not_confirmed`, `confirmed` or `noise`; `trial` is the one whose config and
    weights `best/config` answers, null while that is the original network. `claim` is to be shown
    as it is; `notes` say in sentences what `stops`, `agreement` and `looks` tell. `looks` is how
    often test data was looked at for a verdict: once more with every extension. With several
    objectives the ranking is by the first, and `pareto` has the front; else it is empty.
    `is_fraction` says whether people read the metric in percent, and its differences in points.
    """

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    notes: list[str]
    trial: str | None
    comparisons: list[ComparisonAnswer]
    looks: int
    metric: str
    is_fraction: bool
    direction: str
    original: OriginalAnswer
    luck: float | None
    luck_of: int
    stops: StopsAnswer
    agreement: AgreementAnswer | None
    pareto: list[ParetoAnswer]
    ranking: list[RankedAnswer]


class PlotAnswer(Answer):
    """A figure that can be had of a search."""

    name: str
    description: str
    url: str
