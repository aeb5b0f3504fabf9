"""What the API answers."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from search_space.contract import FailureClass, Measurements, TaskOffer, TrialKind, Verdict
from service.access import Scope
from service.store.models import SearchState, TrialState, Wanted

MAX_TOKEN_SECONDS = 10 * 366 * 86400


def _from_epoch(seconds: Any) -> Any:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, float) else seconds


Time = Annotated[datetime, BeforeValidator(_from_epoch)]
Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of what the API answers; made from rows by their attributes."""

    model_config = ConfigDict(from_attributes=True, allow_inf_nan=False)


class Page(Answer, Generic[Item]):
    """A page of a list; `next` is the cursor of the following one."""

    items: list[Item]
    next: str | None


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
    """

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    gain: float | None
    low: float | None
    high: float | None


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


class UploadAnswer(Answer):
    """A file that a user has stored. `start: {weights: SHA256}` of a search names it."""

    sha256: str
    size: int


class TrialAnswer(Answer):
    """A trial; curves are under `/reports`, files under `/artifacts`.

    `value` is that of the first objective; where there are several, `values` has all of them.
    A repeat got the value of the trial named; a replicate trains that trial's candidate on another
    seed. `stopped_at` is the epoch after which a trial that ran on would have been stopped.
    `measurements` is what the candidate costs, known before its first epoch.
    """

    id: str
    search_id: str
    number: int | None
    kind: TrialKind
    label: str | None
    state: TrialState
    attempt: int
    candidate: dict[str, Any] | None
    value: float | None
    values: list[float] | None
    step: int | None
    step_seconds: float | None
    test: dict[str, float] | None
    measurements: Measurements | None
    repeat_of: str | None
    replicate_of: str | None
    stopped_at: int | None
    seed: int
    failure: FailureClass | None
    reason: str | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


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
    reason: Literal[
        "next",
        "busy",
        "outranked",
        "parallel",
        "no_worker",
        "other_code",
        "benched",
        "paused",
        "ending",
        "inspecting",
        "finishing",
    ]
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
    """The smallest true gain that the confirmation finds in four cases of five.

    `spreads` is in standard deviations over seeds of the original; `gain` in the metric, where
    the spread of a like search is known.
    """

    spreads: float
    spread: float | None
    gain: float | None
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


class ReportAnswer(Answer):
    """The metrics after `step` epochs."""

    step: int
    attempt: int
    value: float
    metrics: dict[str, float]
    step_seconds: float | None
    verdict: Verdict
    created_at: Time


class ArtifactAnswer(Answer):
    name: str
    sha256: str
    size: int
    attempt: int
    created_at: Time


class ShapeAnswer(Answer):
    """What the activation at one site has become.

    `x` is the grid of all `curves`, one for each of `channels`; where all are equal there is one.
    `low` and `high` are the 1st and 99th percentile of the site's inputs, `density` their shares
    in equal intervals along `x`; null where they are hidden. PWLU has `knots`, the inputs at which
    its pieces meet, Meta-ACON `switches`, beta of some samples; both for each of `channels`.
    `nearest` is the classic function that comes nearest, up to its scale and an offset, and
    `nearest_r2` and `line_r2` are the shares of variance that it, or a straight line, explains;
    null of an earlier epoch.
    """

    site: str
    activation: str
    original: str
    x: list[float]
    channels: list[int]
    curves: list[list[float]]
    low: float | None
    high: float | None
    density: list[float] | None = None
    knots: list[list[float]] | None = None
    switches: list[list[float]] | None = None
    nearest: str | None = None
    nearest_r2: float | None = None
    line_r2: float | None = None


class ShapesAnswer(Answer):
    """The functions that a trial has learned, by depth.

    They are those after `epoch`, null for the end; `epochs` are those of which something is kept.
    """

    trial: str
    number: int | None
    label: str | None
    value: float | None
    epoch: int | None
    epochs: list[int]
    sites: list[ShapeAnswer]


class LogAnswer(Answer):
    """Some of what an attempt has printed.

    `text` begins at byte `offset` of its output, and what follows is at `next`; `offset` is
    higher than was asked for where older output is not kept any more. `ended` says that the
    attempt prints no more and this is all of it; the trial has had `attempts` of them, and is
    over itself where `ended` is said of the last.
    """

    attempt: int
    attempts: int
    offset: int
    next: int
    text: str
    ended: bool


class OriginalAnswer(Answer):
    """The network as it came: its value over seeds. `spread` is the standard deviation."""

    mean: float | None
    spread: float | None
    values: list[float]
    step_seconds: float | None


class RankedAnswer(Answer):
    """One line of the ranking: a candidate, with its mean over `seeds` trainings.

    `gain` is against the original's mean, positive when better; `step_ratio` is the time of a
    training step against the original's.
    """

    rank: int
    trial: str
    number: int
    kind: TrialKind
    label: str | None
    value: float
    seeds: int
    gain: float | None
    step_seconds: float | None
    step_ratio: float | None
    candidate: dict[str, Any]


class ComparisonAnswer(Answer):
    """The confirmed winner less a rival on test data, positive when the winner is better.

    `low` and `high` are Welch's 95 % interval; `holds` says whether it is told from noise,
    after Holm's correction over the comparisons, and that for earlier looks at test data.
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
    weights `best/config` answers, null while that is the original network. `looks` is how often
    test data was looked at for a verdict: once more with every extension. With several
    objectives the ranking is by the first, and `pareto` has the front; else it is empty.
    """

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    trial: str | None
    comparisons: list[ComparisonAnswer]
    looks: int
    metric: str
    direction: str
    original: OriginalAnswer
    luck: float | None
    luck_of: int
    stops: StopsAnswer
    agreement: AgreementAnswer | None
    pareto: list[ParetoAnswer]
    ranking: list[RankedAnswer]


class Draft(BaseModel):
    """A search as somebody writes it, in YAML or JSON."""

    text: str = Field(max_length=200_000)


class DraftAnswer(Answer):
    """A search with every default, as data and as YAML."""

    document: dict[str, Any]
    text: str


class PlotAnswer(Answer):
    """A figure that can be had of a search."""

    name: str
    description: str
    url: str


class WorkerAnswer(Answer):
    """A worker. It is alive when it gave a sign of life within two lease lengths; `resting` says
    why it takes no more work, once it does not.
    """

    id: str
    alive: bool
    slots: int
    devices: list[str]
    versions: dict[str, str]
    tasks: list[str]
    running: list[str]
    resting: str | None
    seen_at: Time


class TaskAnswer(TaskOffer):
    """A task that workers offer, with the JSON Schema of its settings."""


class ParameterAnswer(Answer):
    name: str
    default: bool | int | float | str | None
    low: float | None
    high: float | None
    meaning: str
    choices: list[str]
    nullable: bool


class ActivationAnswer(Answer):
    """An entry of the catalogue."""

    name: str
    formula: str
    parameters: list[ParameterAnswer]
    learned: bool
    phases: bool
    shares: list[str]
    initials: list[str]
    learned_parameters: dict[str, int]
    flops: int
    kept: int
    rank: int | None
    channels_first_only: bool
    pointwise: bool
    tied: str | None
    gate: bool
    standard: bool
    source: str
    year: int
    interpretation: str | None


class TokenRequest(BaseModel):
    """A token to be made. Without `expires_in_seconds` it lasts until it is revoked."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_in_seconds: Annotated[float | None, Field(gt=0, le=MAX_TOKEN_SECONDS)] = None


class TokenAnswer(Answer):
    id: str
    name: str
    scopes: list[Scope]
    created_at: Time
    expires_at: Time | None


class NewTokenAnswer(TokenAnswer):
    """A token just made. `token` is stored nowhere and shown this once."""

    token: str


class SignIn(BaseModel):
    """A token, to be exchanged for a cookie."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=1000)]


class SessionAnswer(Answer):
    """Who calls, and what they may do. `open` says that this service asks for no token.

    `version` is that of the service, `protocol` the one that it speaks with workers.
    """

    open: bool
    scopes: list[Scope]
    expires_at: Time | None
    version: str
    protocol: int


class Problem(Answer):
    """An error, as RFC 9457 has it; `errors` names the fields at fault."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None
    errors: list[dict[str, Any]] = []
