"""Reads for the queue: waiting and running trials, busy slots, benched workers."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.schemas.states import ENDING, LIVE_STATES, SearchState, TrialState, Wanted
from service.store.models import Attempt, Bench, Search, Trial


def paused_or_ending(session: Session) -> Sequence[Search]:
    """Return the searches that have not ended and hand out nothing more."""
    is_included = (Search.state == SearchState.PAUSED) | (
        Search.state.in_(LIVE_STATES) & Search.wanted.in_(ENDING)
    )
    return session.scalars(
        select(Search)
        .where(is_included, Search.wanted != Wanted.DELETE)
        .order_by(Search.priority.desc(), Search.created_at, Search.id)
    ).all()


def waiting(session: Session, search_id: str, *, limit: int) -> Sequence[Trial]:
    """Return the first trials that wait for a slot; a repeat waits for what it repeats."""
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search_id,
            Trial.state == TrialState.WAITING,
            Trial.repeat_of.is_(None),
        )
        .order_by(Trial.number)
        .limit(limit)
    ).all()


def running(session: Session, search_id: str) -> Sequence[tuple[Trial, str]]:
    """Return the running trials of a search, each with its worker's id."""
    rows = session.execute(
        select(Trial, Attempt.worker_id)
        .join(Attempt, (Attempt.trial_id == Trial.id) & Attempt.ended_at.is_(None))
        .where(Trial.search_id == search_id, Trial.state == TrialState.RUNNING)
        .order_by(Trial.number)
    )
    return [(trial, worker) for trial, worker in rows]


def busy(session: Session) -> dict[str, int]:
    """Return how many attempts each worker runs, by its boot id."""
    rows = session.execute(
        select(Attempt.boot_id, func.count())
        .where(Attempt.ended_at.is_(None))
        .group_by(Attempt.boot_id)
    )
    return {boot_id: count for boot_id, count in rows}


def benches(session: Session, search_id: str) -> dict[str, str]:
    """Return why workers get no more work of a search, by their boot ids."""
    rows = session.execute(select(Bench.boot_id, Bench.reason).where(Bench.search_id == search_id))
    return {boot_id: reason for boot_id, reason in rows}


def last_attempt(session: Session, trial_id: str) -> Attempt | None:
    return session.scalars(
        select(Attempt).where(Attempt.trial_id == trial_id).order_by(Attempt.number.desc()).limit(1)
    ).first()
