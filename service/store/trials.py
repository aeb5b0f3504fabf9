"""Reads and writes of trials and their files. No function commits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from search_space.contract import START, TrialKind
from service.errors import NotFound
from service.schemas.states import TrialState
from service.store.cursor import Cursor
from service.store.database import now
from service.store.models import Artifact, Attempt, Trial

ORIGINAL = "original"
"""The label of the trials that train the original network."""

_MAX_MEASUREMENTS = 20
"""More than the kinds of devices that one search is likely to run on."""

KeyResults = Sequence[tuple[float | None, Sequence[float] | None]]

Results = Mapping[str, KeyResults]
"""(value, values) of each completed training, by the key of its candidate."""


def get(session: Session, trial_id: str) -> Trial:
    """Return a trial, or raise `NotFound`."""
    trial = session.get(Trial, trial_id)
    if trial is None:
        raise NotFound("trial", trial_id)
    return trial


Order = Literal["number", "-number", "value", "-value"]
"""By number or by value; a minus means descending. Trials without a value are left out."""


def page(
    session: Session,
    search_id: str,
    *,
    after: Cursor | None,
    limit: int,
    order: Order = "number",
    states: Sequence[TrialState] = (),
    kinds: Sequence[TrialKind] = (),
) -> Sequence[Trial]:
    """Return the trials of a search that follow a cursor, without inspections."""
    column = Trial.number if order.endswith("number") else Trial.value
    descends = order.startswith("-")
    query = select(Trial).where(Trial.search_id == search_id, column.is_not(None))
    query = query.where(Trial.number.is_not(None))
    if states:
        query = query.where(Trial.state.in_(states))
    if kinds:
        query = query.where(Trial.kind.in_(kinds))
    if after is not None:
        beyond = column < after.key if descends else column > after.key
        query = query.where(beyond | ((column == after.key) & (Trial.id > after.id)))
    first = column.desc() if descends else column.asc()
    return session.scalars(query.order_by(first, Trial.id).limit(limit)).all()


def cursor_of(trial: Trial, order: Order) -> Cursor:
    """Return the cursor for the trials that follow a trial in this order."""
    key = trial.number if order.endswith("number") else trial.value
    assert key is not None
    return Cursor(float(key), trial.id)


def next_number(session: Session, search_id: str) -> int:
    return _next(session, search_id, Trial.number)


def next_optuna_number(session: Session, search_id: str) -> int:
    return _next(session, search_id, Trial.optuna_number)


def _next(session: Session, search_id: str, column: InstrumentedAttribute[int | None]) -> int:
    highest = session.scalar(select(func.max(column)).where(Trial.search_id == search_id))
    return 0 if highest is None else highest + 1


def count(session: Session, search_id: str, *where: ColumnElement[bool]) -> int:
    """Count the trials of a search, inspections included, that meet every condition."""
    return session.scalar(select(func.count()).where(Trial.search_id == search_id, *where)) or 0


def first_with_key(session: Session, search_id: str, key: str) -> Trial | None:
    """Return the first trial that trained a candidate, which represents it.

    Confirmations do not count: they have other seeds and lengths, and are not part of the study.
    """
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search_id,
            Trial.key == key,
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
        .limit(1)
    ).first()


def measurements_of(session: Session, search_id: str, key: str) -> Sequence[dict[str, Any]]:
    """Return the measurements of the trials of a candidate, by trial number."""
    found = session.scalars(
        select(Trial.measurements)
        .where(Trial.search_id == search_id, Trial.key == key, Trial.measurements.is_not(None))
        .order_by(Trial.number)
        .limit(_MAX_MEASUREMENTS)
    )
    return [one for one in found if one is not None]


def repeats(session: Session, trial_id: str) -> Sequence[Trial]:
    """Return the repeats of a trial that wait for its value, without cancelled ones."""
    return session.scalars(
        select(Trial)
        .where(
            Trial.repeat_of == trial_id,
            Trial.told.is_(None),
            Trial.state == TrialState.WAITING,
        )
        .order_by(Trial.optuna_number)
    ).all()


def ids_by_optuna_number(session: Session, search_id: str) -> dict[int, str]:
    """Return the id of each trial of the study, by its number there."""
    rows = session.execute(
        select(Trial.optuna_number, Trial.id).where(
            Trial.search_id == search_id, Trial.optuna_number.is_not(None)
        )
    )
    return {number: trial_id for number, trial_id in rows if number is not None}


def told_with_key(session: Session, search_id: str, key: str) -> Sequence[Trial]:
    """Return the trials of a candidate whose results the study has."""
    return session.scalars(
        select(Trial).where(Trial.search_id == search_id, Trial.key == key, Trial.told.is_not(None))
    ).all()


def originals(session: Session, search_id: str) -> Sequence[Trial]:
    """Return the trials of the original network, one for each seed."""
    return originals_each(session, [search_id]).get(search_id, [])


def originals_each(session: Session, search_ids: Collection[str]) -> dict[str, list[Trial]]:
    """Return the trials of the original of each search, by the search's id."""
    return _by_search(session, search_ids, Trial.label == ORIGINAL)


def confirmations_each(session: Session, search_ids: Collection[str]) -> dict[str, list[Trial]]:
    """Return the trials that confirm the winner of each search, by the search's id."""
    return _by_search(session, search_ids, Trial.kind == TrialKind.CONFIRMATION)


def _by_search(
    session: Session, search_ids: Collection[str], *where: ColumnElement[bool]
) -> dict[str, list[Trial]]:
    """Return trials of searches in the order of their numbers."""
    rows = session.scalars(
        select(Trial).where(Trial.search_id.in_(search_ids), *where).order_by(Trial.number)
    )
    found: dict[str, list[Trial]] = {}
    for trial in rows:
        found.setdefault(trial.search_id, []).append(trial)
    return found


def values_of(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Return the values of those among `trials` that completed."""
    return tuple(t.value for t in trials if t.state == TrialState.COMPLETED and t.value is not None)


def results_by_key(session: Session, search_id: str, key: str | None = None) -> Results:
    """Return the results of the trainings of each candidate, or of one, without confirmations."""
    query = (
        select(Trial.key, Trial.value, Trial.values)
        .where(
            Trial.search_id == search_id,
            Trial.state == TrialState.COMPLETED,
            Trial.kind.not_in((TrialKind.INSPECTION, TrialKind.CONFIRMATION)),
            Trial.repeat_of.is_(None),
        )
        .order_by(Trial.number)
    )
    if key is not None:
        query = query.where(Trial.key == key)
    found: dict[str, list[tuple[float | None, Sequence[float] | None]]] = {}
    for of, value, values in session.execute(query):
        found.setdefault(of or "", []).append((value, values))
    return found


def in_study(session: Session, search_id: str) -> Sequence[Trial]:
    """Return the trials of the study, by their numbers in it."""
    return session.scalars(
        select(Trial)
        .where(Trial.search_id == search_id, Trial.optuna_number.is_not(None))
        .order_by(Trial.optuna_number)
    ).all()


def artifact(session: Session, trial_id: str, name: str) -> Artifact | None:
    return session.get(Artifact, (trial_id, name))


def artifacts(session: Session, trial_id: str) -> Sequence[Artifact]:
    return session.scalars(
        select(Artifact).where(Artifact.trial_id == trial_id).order_by(Artifact.name)
    ).all()


def start_of(session: Session, search_id: str) -> Artifact | None:
    """Return the weights that a search tunes, which are a file of its inspection."""
    return session.scalars(
        select(Artifact)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(
            Trial.search_id == search_id,
            Trial.kind == TrialKind.INSPECTION,
            Artifact.name == START,
        )
    ).first()


def is_named(session: Session, sha256: str) -> bool:
    """Whether a row refers to a file with this content."""
    named = select(Artifact.name).where(Artifact.sha256 == sha256).limit(1)
    return session.scalar(named) is not None


def put_artifact(
    session: Session, trial: Trial, name: str, *, sha256: str, size: int
) -> str | None:
    """Add a row for a file; return the sha256 of a replaced file if no row refers to it now."""
    before = artifact(session, trial.id, name)
    replaced = None if before is None else before.sha256
    session.merge(
        Artifact(
            trial_id=trial.id,
            name=name,
            attempt=trial.attempt,
            sha256=sha256,
            size=size,
            created_at=now(),
        )
    )
    session.flush()
    if replaced is None or replaced == sha256:
        return None
    named = session.scalar(select(func.count()).where(Artifact.sha256 == replaced))
    return None if named else replaced


def take(session: Session, search_id: str, *, expired: bool, waiting: bool) -> Trial | None:
    """Set a trial of a search to running and count a new attempt, or return None.

    One compare-and-set statement: of several transactions that try, each gets another trial.

    Args:
        expired: Whether to take trials whose attempt has an expired lease.
        waiting: Whether to take waiting trials.
    """
    available = _available(expired=expired, waiting=waiting)
    if available is None:
        return None
    rank = case(
        (Trial.kind == TrialKind.INSPECTION, 0), (Trial.kind == TrialKind.BASELINE, 1), else_=2
    )
    first = (
        select(Trial.id)
        .where(Trial.search_id == search_id, available)
        .order_by(rank, Trial.number)
        .limit(1)
        # Without waiting for a trial that another transaction takes at the same moment.
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return session.scalars(
        update(Trial)
        # Checked again: the trial may have changed between the subquery and the row's lock.
        .where(Trial.id == first, available)
        .values(
            state=TrialState.RUNNING,
            attempt=Trial.attempt + 1,
            started_at=func.coalesce(Trial.started_at, now()),
        )
        .returning(Trial)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _available(*, expired: bool, waiting: bool) -> ColumnElement[bool] | None:
    """Return the condition for trials that can be taken, or None if there can be none."""
    conditions: list[ColumnElement[bool]] = []
    if waiting:
        # A repeat is never run: it gets the result of the trial that it repeats.
        conditions.append(and_(Trial.state == TrialState.WAITING, Trial.repeat_of.is_(None)))
    if expired:
        has_expired = (
            select(Attempt.trial_id)
            .where(Attempt.ended_at.is_(None), Attempt.expires_at < now())
            .scalar_subquery()
        )
        conditions.append(and_(Trial.state == TrialState.RUNNING, Trial.id.in_(has_expired)))
    return or_(*conditions) if conditions else None
