"""What the API answers about trials, and about what they have left."""

from typing import Any

from search_space.contract import FailureClass, Measurements, TrialKind, Verdict
from service.schemas.base import Answer, Time
from service.schemas.states import TrialState


class TrialAnswer(Answer):
    """A trial; curves are under `/reports`, files under `/artifacts`.

    `value` is that of the first objective; where there are several, `values` has all of them.
    A repeat got the value of the trial named; a replicate trains that trial's candidate on another
    seed. `stopped_at` is the epoch after which the pruner stopped it, or would have stopped it if
    it had not run on.
    `measurements` is what the candidate costs, known before its first epoch.
    Trials of one `seed_block` share their seed, and their differences are paired; null: the seed
    is its own. `estimate` is what the sampler's model expects of the candidate, with its 90 %
    interval, and `beats_uniform` the probability that it is better than the best uniform network;
    only the 100 best candidates have these two.
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
    estimate: float | None
    estimate_low: float | None
    estimate_high: float | None
    beats_uniform: float | None
    step: int | None
    step_seconds: float | None
    test: dict[str, float] | None
    measurements: Measurements | None
    repeat_of: str | None
    replicate_of: str | None
    stopped_at: int | None
    seed: int
    seed_block: int | None
    failure: FailureClass | None
    reason: str | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


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


class UploadAnswer(Answer):
    """A file that a user has stored. `start: {weights: SHA256}` of a search names it."""

    sha256: str
    size: int


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
