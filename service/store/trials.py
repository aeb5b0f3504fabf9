"""Reads and writes of trials. Every function takes the session of an open transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from search_space.contract import START, TrialKind
from service.errors import NotFound
from service.schemas.states import UNFINISHED, TrialState
from service.store.cursor import Cursor
from service.store.database import now
from service.store.models import Artifact, Attempt, Report, Trial

ORIGINAL = "original"
"""The label of the trials that train the network as it came."""


# More devices than one search is likely to meet.
_MOST_MEASUREMENTS = 20

Results = Mapping[str, Sequence[tuple[float | None, Sequence[float] | None]]]
"""(value, values) of each completed training, by the key of its candidate."""


def get(session: Session, trial_id: str) -> Trial:
    """Return a trial, or raise `NotFound`."""
    trial = session.get(Trial, trial_id)
    if trial is None:
        raise NotFound("trial", trial_id)
    return trial


Order = Literal["number", "-number", "value", "-value"]
"""By number or by value; with a minus the highest first. Trials without a value have no place."""


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
    """Return numbered trials of a search that follow a cursor."""
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
    """Return the cursor of what follows a trial in a page of this order."""
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


def running(session: Session, search_id: str) -> int:
    return count(session, search_id, Trial.state == TrialState.RUNNING)


def waiting(session: Session, search_id: str) -> int:
    """Count what waits for a slot; repeats wait for what they repeat."""
    return count(session, search_id, Trial.state == TrialState.WAITING, Trial.repeat_of.is_(None))


def unfinished(session: Session, search_id: str) -> int:
    """Count what still has to end, repeats aside: these end with what they repeat."""
    return count(session, search_id, Trial.state.in_(UNFINISHED), Trial.repeat_of.is_(None))


def proposed(session: Session, search_id: str) -> int:
    """Count what the budget has been spent on."""
    return count(session, search_id, Trial.kind == TrialKind.PROPOSED, Trial.repeat_of.is_(None))


def replicates(session: Session, search_id: str) -> int:
    """Count the trials that train a leader on another seed."""
    return count(session, search_id, Trial.replicate_of.is_not(None))


def trainings(session: Session, search_id: str, key: str) -> int:
    """Count the trials that train a candidate, ended or not; confirmations aside."""
    return count(
        session,
        search_id,
        Trial.key == key,
        Trial.repeat_of.is_(None),
        Trial.kind != TrialKind.CONFIRMATION,
    )


def distinct_keys(session: Session, search_id: str) -> int:
    """Count the different candidates that the study holds."""
    return (
        session.scalar(
            select(func.count(Trial.key.distinct())).where(
                Trial.search_id == search_id, Trial.optuna_number.is_not(None)
            )
        )
        or 0
    )


def first_with_key(session: Session, search_id: str, key: str) -> Trial | None:
    """Return the trial that stands for a candidate: the first that trained it.

    A confirmation's does not: its value is of another seed and length, and no study is told of it.
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
    """Return what the trials of a candidate have measured, the first of them first."""
    found = session.scalars(
        select(Trial.measurements)
        .where(Trial.search_id == search_id, Trial.key == key, Trial.measurements.is_not(None))
        .order_by(Trial.number)
        .limit(_MOST_MEASUREMENTS)
    )
    return [one for one in found if one is not None]


def repeats(session: Session, trial_id: str) -> Sequence[Trial]:
    """Return the repeats of a trial that wait for its value; those cancelled wait no more."""
    return session.scalars(
        select(Trial)
        .where(
            Trial.repeat_of == trial_id,
            Trial.told.is_(None),
            Trial.state == TrialState.WAITING,
        )
        .order_by(Trial.optuna_number)
    ).all()


def told_with_key(session: Session, search_id: str, key: str) -> Sequence[Trial]:
    """Return the trials of a candidate that the study was told of."""
    return session.scalars(
        select(Trial).where(Trial.search_id == search_id, Trial.key == key, Trial.told.is_not(None))
    ).all()


def originals(session: Session, search_id: str) -> Sequence[Trial]:
    """Return the trials of the network as it came, one per seed."""
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
    """Return what the trainings of each candidate, or of one, came to; confirmations aside."""
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
    """Return the trials of the study, in the order in which it holds them."""
    return session.scalars(
        select(Trial)
        .where(Trial.search_id == search_id, Trial.optuna_number.is_not(None))
        .order_by(Trial.optuna_number)
    ).all()


def told_reports(session: Session, search_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return the reports that the sampler saw, by trial and in the order of their steps."""
    rows = session.execute(
        select(Report.trial_id, Report.step, Report.value)
        .join(Trial, Trial.id == Report.trial_id)
        .where(Trial.search_id == search_id, Report.told.is_not(None))
        .order_by(Report.trial_id, Report.step)
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for trial_id, step, value in rows:
        found.setdefault(trial_id, []).append((step, value))
    return found


def reports(session: Session, trial_id: str) -> Sequence[Report]:
    """Return a trial's reports, one for each step: the first."""
    rows = session.scalars(
        select(Report).where(Report.trial_id == trial_id).order_by(Report.step, Report.attempt)
    )
    first: dict[int, Report] = {}
    for report in rows:
        first.setdefault(report.step, report)
    return list(first.values())


def first_report(session: Session, trial_id: str, step: int) -> Report | None:
    """Return the report of a step that came first, whatever attempt made it."""
    return session.scalars(
        select(Report)
        .where(Report.trial_id == trial_id, Report.step == step)
        .order_by(Report.attempt)
        .limit(1)
    ).first()


def reports_of_steps(
    session: Session, steps: Collection[tuple[str, int]]
) -> dict[tuple[str, int], list[Report]]:
    """Return the reports of some steps of trials, by trial and step; the first comes first."""
    found = session.scalars(
        select(Report)
        .where(tuple_(Report.trial_id, Report.step).in_(steps))
        .order_by(Report.attempt)
    )
    by_step: dict[tuple[str, int], list[Report]] = {}
    for report in found:
        by_step.setdefault((report.trial_id, report.step), []).append(report)
    return by_step


def artifact(session: Session, trial_id: str, name: str) -> Artifact | None:
    return session.get(Artifact, (trial_id, name))


def artifacts(session: Session, trial_id: str) -> Sequence[Artifact]:
    return session.scalars(
        select(Artifact).where(Artifact.trial_id == trial_id).order_by(Artifact.name)
    ).all()


def start_of(session: Session, search_id: str) -> Artifact | None:
    """Return the weights that a search tunes: a file of its inspection."""
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
    """Whether a trial has a file with this content."""
    named = select(Artifact.name).where(Artifact.sha256 == sha256).limit(1)
    return session.scalar(named) is not None


def put_artifact(
    session: Session, trial: Trial, name: str, *, sha256: str, size: int
) -> str | None:
    """Name a stored file; return the sha256 of one that nothing names any more, if any."""
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
    """Hand out a trial of a search by one compare-and-set statement, or return None.

    Args:
        expired: Whether trials may be taken from attempts whose lease has run out.
        waiting: Whether trials may be taken that wait.
    """
    lapsed = (
        select(Attempt.trial_id)
        .where(Attempt.ended_at.is_(None), Attempt.expires_at < now())
        .scalar_subquery()
    )
    available: list[ColumnElement[bool]] = []
    if waiting:
        available.append(and_(Trial.state == TrialState.WAITING, Trial.repeat_of.is_(None)))
    if expired:
        available.append(and_(Trial.state == TrialState.RUNNING, Trial.id.in_(lapsed)))
    if not available:
        return None
    rank = case(
        (Trial.kind == TrialKind.INSPECTION, 0), (Trial.kind == TrialKind.BASELINE, 1), else_=2
    )
    first = (
        select(Trial.id)
        .where(Trial.search_id == search_id, or_(*available))
        .order_by(rank, Trial.number)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return session.scalars(
        update(Trial)
        .where(Trial.id == first, or_(*available))
        .values(
            state=TrialState.RUNNING,
            attempt=Trial.attempt + 1,
            started_at=func.coalesce(Trial.started_at, now()),
        )
        .returning(Trial)
        .execution_options(populate_existing=True)
    ).one_or_none()
