"""What the API answers about searches: as they are, as they wait, as they would be."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from search_space.contract import TrialKind
from service.schemas.base import Answer, Time
from service.schemas.states import ENDED_STATES, SearchState, Wanted


class Progress(Answer):
    """How far a search is. `eta_seconds` is null while too little is known."""

    finished: int
    total: int
    running: int
    eta_seconds: float | None


class Best(Answer):
    """The best completed trial so far; unconfirmed."""

    trial: str
    number: int
    label: str | None
    value: float


class BudgetAnswer(Answer):
    """How much a search may spend; what is spent first ends it. Null: no limit."""

    trials: int
    hours: float | None
    gpu_hours: float | None
    failures: int


class SpentAnswer(Answer):
    """What a search has spent: proposed trials, hours in which it ran, hours of its GPUs."""

    trials: int
    hours: float
    gpu_hours: float


class FindingAnswer(Answer):
    """What may be said of the best: its gain on the original, positive when it is better.

    Once confirmed, or found to be noise, the gain is on test data and `low` and `high` are its
    95 % interval; until then it is one training on validation data, and has none.
    `is_fraction` says whether people read the gain in points.
    """

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    gain: float | None
    low: float | None
    high: float | None
    is_fraction: bool


class WarmStartAnswer(Answer):
    """What a search begins with of an earlier one: so many of its candidates.

    `reason` says why a fork begins without what its parent has found.
    """

    search: str
    taken: int
    reason: str | None


class SearchAnswer(Answer):
    """A search.

    `document` is what was submitted; `name`, `budget`, `parallel` and `priority` are those in
    force now. `luck` is what the best of `luck_of` networks equal to the original would show by
    luck; `events` is the number of the last event, after which a new follower may begin.
    """

    id: str
    name: str
    state: SearchState
    wanted: Wanted
    reason: str | None
    counts: dict[str, int]
    progress: Progress
    budget: BudgetAnswer
    spent: SpentAnswer
    parallel: int
    priority: int
    forked_from: str | None
    warm_start: WarmStartAnswer | None
    best: Best | None
    finding: FindingAnswer
    luck: float | None
    luck_of: int
    events: int
    document: dict[str, Any]
    pinned: dict[str, Any]
    plan: dict[str, Any] | None
    fingerprint: str | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


WaitReasonCode = Literal[
    "next",
    "busy",
    "outranked",
    "parallel",
    "no_worker",
    "resting",
    "other_code",
    "benched",
    "paused",
    "ending",
    "inspecting",
    "finishing",
]


class WaitingTrialAnswer(Answer):
    """A trial that waits, and why: it is new, or was tried before and handed back."""

    id: str
    number: int | None
    kind: TrialKind
    attempt: int
    explanation: str


class QueuedAnswer(Answer):
    """A search that wants something, and what keeps it from having all of it.

    `waiting` counts the trials that wait, `to_propose` the candidates that the budget allows
    beyond these. `waits_for` names workers or searches. `trials` are the first of those that wait.
    """

    place: int
    search: str
    name: str
    state: SearchState
    priority: int
    parallel: int
    running: int
    waiting: int
    to_propose: int
    reason: WaitReasonCode
    explanation: str
    waits_for: list[str]
    trials: list[WaitingTrialAnswer]


class TrainingsAnswer(Answer):
    """How many trainings a search takes at most."""

    baselines: int
    proposed: int
    confirmation: int
    total: int


class SmallestGainAnswer(Answer):
    """The smallest true gain that the confirmation finds in about four cases of five.

    `spreads` is in standard deviations over seeds of the original; `gain` in the metric, where
    the spread of a search of the same task and metric is known. `is_fraction` says whether people
    read it in points; `basis` says how often it is found, and by which seeds.
    """

    spreads: float
    spread: float | None
    gain: float | None
    is_fraction: bool
    basis: str


class DurationAnswer(Answer):
    """How long a search may take, by trials of the same task that have completed."""

    seconds: float
    slot_seconds: float
    seconds_per_training: float
    trainings: int
    basis: str


class PreviewAnswer(Answer):
    """What a search would be. Nothing of it is stored.

    `sites`, `groups`, `size` and `candidates` are null until some search of the same task has
    been inspected; `size` is also null where the space is infinite.
    """

    document: dict[str, Any]
    sites: list[str] | None
    groups: dict[str, list[str]] | None
    size: int | None
    candidates: list[dict[str, Any]] | None
    trainings: TrainingsAnswer
    duration: DurationAnswer | None
    smallest_gain: SmallestGainAnswer | None
    warnings: list[str]


class Draft(BaseModel):
    """A search as somebody writes it, in YAML or JSON."""

    text: str = Field(max_length=200_000)


class DraftAnswer(Answer):
    """A search with every default, as data and as YAML."""

    document: dict[str, Any]
    text: str


def has_stopped(search: SearchAnswer) -> bool:
    """Whether nothing more happens in a search unless somebody acts."""
    return search.state in (*ENDED_STATES, SearchState.PAUSED)
