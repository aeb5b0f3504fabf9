"""The tables of the store. Counts and rankings are not stored but computed.

Times are seconds since 1970 by the database's clock (`database.now`): as numbers they compare and
add in the same way on every database.
"""

from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from search_space.contract import FailureClass, OutcomeKind, TrialKind, Verdict
from service.schemas.states import SearchState, TrialState, Wanted


def _text_enum(kind: type[StrEnum]) -> Enum:
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda e: [member.value for member in e]
    )


class Base(DeclarativeBase):
    # Constraints have names so that migrations can change them on SQLite too.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        dict[str, float]: JSON,
        list[float]: JSON,
        list[str]: JSON,
        str: String(200),
        **{
            kind: _text_enum(kind)
            for kind in (
                SearchState,
                Wanted,
                TrialState,
                TrialKind,
                FailureClass,
                OutcomeKind,
                Verdict,
            )
        },
    }


class Search(Base):
    """A search.

    `document` is what was submitted; the columns name, budget, parallel and priority are in force.
    `events` and `tells` are the last numbers that were given to events and results under this
    row's lock. `study_attributes` are the attributes of its Optuna study. It was running for
    `ran_seconds` before `running_since`. Confirmations with a number below `confirm_from` confirmed
    an earlier winner, before it was extended.
    """

    __tablename__ = "searches"
    __table_args__ = (Index(None, "state"), Index(None, "created_at", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[SearchState]
    wanted: Mapped[Wanted] = mapped_column(default=Wanted.RUN)
    reason: Mapped[str | None] = mapped_column(Text)
    document: Mapped[dict[str, Any]]
    pinned: Mapped[dict[str, Any]]
    priority: Mapped[int]
    parallel: Mapped[int]
    budget: Mapped[int]
    budget_hours: Mapped[float | None]
    budget_gpu_hours: Mapped[float | None]
    budget_failures: Mapped[int]
    ran_seconds: Mapped[float] = mapped_column(default=0.0)
    running_since: Mapped[float | None]
    confirm_from: Mapped[int] = mapped_column(default=0)
    forked_from: Mapped[str | None]
    plan: Mapped[dict[str, Any] | None]
    fingerprint: Mapped[str | None]
    failures_in_a_row: Mapped[int] = mapped_column(default=0)
    events: Mapped[int] = mapped_column(default=0)
    tells: Mapped[int] = mapped_column(default=0)
    study_attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


class Trial(Base):
    """A trial. An inspection has neither candidate nor number.

    `optuna_number` is its number in the study and `optuna_attrs` are its attributes there; `told`
    is the number under which the study got its result. `repeat_of` is the trial with the same
    candidate that it repeats, `replicate_of` the trial whose candidate it trains on another seed.
    `stopped_at` is the epoch after which the pruner stopped it, though it may have run on.

    `value` is that of the first objective; if there are several, `values` has all of them.
    `seed_block` is None if the trial shares its seed with no other. `estimate` with its interval is
    what the sampler's model expects of the trial's candidate, and `beats_uniform` the probability
    that it is better than the best uniform network; None without a model.
    """

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("search_id", "number"),
        UniqueConstraint("search_id", "optuna_number"),
        CheckConstraint("(kind = 'inspection') = (number IS NULL)", "numbered_unless_inspection"),
        CheckConstraint("repeat_of IS NULL OR state != 'running'", "repeats_never_run"),
        Index(None, "search_id", "state"),
        # These include the number: SQLite prefers an index that saves a sort, and would otherwise
        # read all trials of the search by number.
        Index(None, "search_id", "key", "number"),
        Index(None, "search_id", "kind", "number", "repeat_of"),
        Index(None, "search_id", "label", "number"),
        Index(None, "state", "kind"),
        Index(None, "repeat_of"),
        Index(None, "replicate_of"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey(Search.id, ondelete="CASCADE"))
    number: Mapped[int | None]
    kind: Mapped[TrialKind]
    label: Mapped[str | None]
    state: Mapped[TrialState] = mapped_column(default=TrialState.WAITING)
    attempt: Mapped[int] = mapped_column(default=0)
    candidate: Mapped[dict[str, Any] | None]
    key: Mapped[str | None]
    seed: Mapped[int]
    seed_block: Mapped[int | None]
    params: Mapped[dict[str, Any] | None]
    optuna_number: Mapped[int | None]
    optuna_attrs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    told: Mapped[int | None]
    repeat_of: Mapped[str | None] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"))
    replicate_of: Mapped[str | None] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"))
    stopped_at: Mapped[int | None]
    value: Mapped[float | None]
    values: Mapped[list[float] | None]
    estimate: Mapped[float | None]
    estimate_low: Mapped[float | None]
    estimate_high: Mapped[float | None]
    beats_uniform: Mapped[float | None]
    step: Mapped[int | None]
    step_seconds: Mapped[float | None]
    test: Mapped[dict[str, float] | None]
    measurements: Mapped[dict[str, Any] | None]
    failure: Mapped[FailureClass | None]
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


class Attempt(Base):
    """An attempt at a trial; its id is the lease. `gpus` is the number of GPUs of its slot."""

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("trial_id", "number"),
        UniqueConstraint("boot_id", "slot", "request"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", "ended_with_an_outcome"),
        Index(None, "ended_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey(Trial.id, ondelete="CASCADE"))
    number: Mapped[int]
    worker_id: Mapped[str]
    boot_id: Mapped[str]
    slot: Mapped[int]
    request: Mapped[int]
    gpus: Mapped[float] = mapped_column(default=0.0)
    started_at: Mapped[float]
    expires_at: Mapped[float]
    spoke_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[OutcomeKind | None]
    failure: Mapped[FailureClass | None]
    message: Mapped[str | None] = mapped_column(Text)


class Report(Base):
    """The metrics of one epoch. `told` is the number under which the study got them, if it did."""

    __tablename__ = "reports"

    trial_id: Mapped[str] = mapped_column(
        ForeignKey(Trial.id, ondelete="CASCADE"), primary_key=True
    )
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float]
    metrics: Mapped[dict[str, float]]
    step_seconds: Mapped[float | None]
    verdict: Mapped[Verdict]
    told: Mapped[int | None]
    created_at: Mapped[float]


class Artifact(Base):
    """The newest file of a name that a trial has stored."""

    __tablename__ = "artifacts"
    __table_args__ = (Index(None, "sha256"),)

    trial_id: Mapped[str] = mapped_column(
        ForeignKey(Trial.id, ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    sha256: Mapped[str]
    size: Mapped[int]
    created_at: Mapped[float]


class LogPiece(Base):
    """A chunk of the output of an attempt: bytes `offset` to `end`."""

    __tablename__ = "log_pieces"

    trial_id: Mapped[str] = mapped_column(
        ForeignKey(Trial.id, ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    end: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Event(Base):
    """An event of a search, for its followers. Numbers begin at 1 and have no gaps."""

    __tablename__ = "events"

    search_id: Mapped[str] = mapped_column(
        ForeignKey(Search.id, ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    boot_id: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    seen_at: Mapped[float]


class Bench(Base):
    """A worker that gets no more work of a search, since its environment failed in a trial."""

    __tablename__ = "benches"
    __table_args__ = (Index(None, "trial_id"),)

    search_id: Mapped[str] = mapped_column(
        ForeignKey(Search.id, ondelete="CASCADE"), primary_key=True
    )
    boot_id: Mapped[str] = mapped_column(primary_key=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey(Trial.id, ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(Text)


class Submission(Base):
    """An Idempotency-Key, the digest of the request's body, and the search that was created."""

    __tablename__ = "submissions"

    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    search_id: Mapped[str] = mapped_column(ForeignKey(Search.id, ondelete="CASCADE"))
    created_at: Mapped[float]


class Secret(Base):
    """A secret of the service, such as the key that signs the tokens of attempts."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Owner(Base):
    """The only row of this table says which process is the leader.

    `epoch` grows with every change of leader. It is the primary key, so that writers can share a
    lock (FOR KEY SHARE) that blocks a change of leader but not the renewals of `expires_at`.
    """

    __tablename__ = "owner"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str]
    expires_at: Mapped[float]


class Token(Base):
    """An API token: its hash, its scopes and its expiry."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
