"""Reads and writes of attempts. The id of an attempt is its lease."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from search_space.contract import FailureClass, LeaseRequest, OutcomeKind
from service.errors import LeaseLost
from service.schemas.states import Wanted
from service.store.database import now
from service.store.models import Attempt, Report, Search, Trial


def search_of(session: Session, lease: str) -> str:
    """Return the search that a lease belongs to, or raise `LeaseLost`."""
    search_id = session.scalar(
        select(Trial.search_id)
        .join(Attempt, Attempt.trial_id == Trial.id)
        .join(Search, Search.id == Trial.search_id)
        .where(Attempt.id == lease, Search.wanted != Wanted.DELETE)
    )
    if search_id is None:
        raise LeaseLost(lease)
    return search_id


def find(session: Session, lease: str) -> Attempt | None:
    return session.get(Attempt, lease)


def locked(session: Session, lease: str) -> Attempt | None:
    """Return an attempt, ended or not, with its row locked."""
    return session.get(Attempt, lease, with_for_update=True)


def numbered(session: Session, trial_id: str, number: int) -> Attempt | None:
    """Return an attempt of a trial by its number; the first is 1."""
    return session.scalars(
        select(Attempt).where(Attempt.trial_id == trial_id, Attempt.number == number)
    ).one_or_none()


def current(session: Session, lease: str) -> tuple[Attempt, Trial]:
    """Return an open attempt and its trial, locked, or raise `LeaseLost`."""
    found = open_with_trials(session, [lease])
    if lease not in found:
        raise LeaseLost(lease)
    return found[lease]


def open_with_trials(session: Session, leases: Collection[str]) -> dict[str, tuple[Attempt, Trial]]:
    """Return those of some attempts that are open, with their trials, locked, by their leases."""
    # Always locked in the order of their ids: two transactions that lock several attempts in
    # different orders would wait for each other.
    rows = session.execute(
        select(Attempt, Trial)
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Attempt.id.in_(leases), Attempt.ended_at.is_(None), Attempt.number == Trial.attempt)
        .order_by(Attempt.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {attempt.id: (attempt, trial) for attempt, trial in rows}


def of_request(session: Session, request: LeaseRequest) -> Attempt | None:
    """Return the attempt that a request was given when it was sent before."""
    return session.scalars(
        select(Attempt).where(
            Attempt.boot_id == request.boot_id,
            Attempt.slot == request.slot,
            Attempt.request == request.request,
        )
    ).one_or_none()


def open_of(session: Session, trial_id: str) -> Attempt | None:
    """Return the attempt of a trial that has not ended."""
    return session.scalars(
        select(Attempt).where(Attempt.trial_id == trial_id, Attempt.ended_at.is_(None))
    ).one_or_none()


def of_trial(session: Session, trial_id: str) -> Sequence[Attempt]:
    return session.scalars(
        select(Attempt).where(Attempt.trial_id == trial_id).order_by(Attempt.number)
    ).all()


class Times(NamedTuple):
    """When an attempt began, when it last reported, and when its lease expires."""

    started_at: float
    spoke_at: float
    expires_at: float


def open_attempts(session: Session) -> list[tuple[str, Times, str]]:
    """Return the lease of every attempt that has not ended, with its search's id."""
    rows = session.execute(
        select(
            Attempt.id,
            Attempt.started_at,
            Attempt.spoke_at,
            Attempt.expires_at,
            Trial.search_id,
        )
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Attempt.ended_at.is_(None))
    )
    return [(lease, Times(*times), search_id) for lease, *times, search_id in rows]


def renew(session: Session, leases: Sequence[str], *, boot_id: str, seconds: float) -> set[str]:
    """Extend those of the leases that still belong to the worker, and return these."""
    if not leases:
        return set()
    own = (
        select(Attempt.id)
        .where(Attempt.id.in_(leases), Attempt.boot_id == boot_id, Attempt.ended_at.is_(None))
        .order_by(Attempt.id)  # As in `open_with_trials`.
        .with_for_update()
    )
    return set(
        session.scalars(
            update(Attempt)
            .where(Attempt.id.in_(own))
            .values(expires_at=now() + seconds)
            .returning(Attempt.id)
        )
    )


def restart_clock(session: Session, leases: Collection[str]) -> None:
    """Let the time of attempts begin now: they wait for resources, so no timeout may run yet."""
    if leases:
        session.execute(
            update(Attempt).where(Attempt.id.in_(leases)).values(started_at=now(), spoke_at=now())
        )


def record_activity(session: Session, leases: Collection[str], *, seconds: float) -> None:
    """Store that attempts have reported, and renew their leases."""
    session.execute(
        update(Attempt)
        .where(Attempt.id.in_(leases))
        .values(expires_at=now() + seconds, spoke_at=now())
    )


def end(
    session: Session,
    attempt: Attempt,
    outcome: OutcomeKind,
    failure: FailureClass | None = None,
    message: str = "",
) -> None:
    """Store how an attempt ended."""
    # An UPDATE, so that the time is that of the database; the object is refreshed.
    session.execute(
        update(Attempt)
        .where(Attempt.id == attempt.id)
        .values(ended_at=now(), outcome=outcome, failure=failure, message=message)
        .execution_options(synchronize_session="fetch")
    )


def failed_by(session: Session, trial_id: str, failure: FailureClass) -> int:
    """Count the attempts of a trial that failed with a class of failure."""
    ended = select(func.count()).where(Attempt.trial_id == trial_id, Attempt.failure == failure)
    return session.scalar(ended) or 0


def of_killed(session: Session, leases: Collection[str]) -> Sequence[tuple[str, str]]:
    """Return those of some leases whose search was killed, each with the search's id."""
    rows = session.execute(
        select(Attempt.id, Trial.search_id)
        .join(Trial, Trial.id == Attempt.trial_id)
        .join(Search, Search.id == Trial.search_id)
        .where(Attempt.id.in_(leases), Search.wanted == Wanted.KILL)
    )
    return [(lease, search_id) for lease, search_id in rows]


def losses_without_report(session: Session, trial_id: str) -> int:
    """Count the newest attempts in a row that were lost before their first report."""
    attempts = list(of_trial(session, trial_id))
    reported = set(session.scalars(select(Report.attempt).where(Report.trial_id == trial_id)))
    losses = 0
    for attempt in reversed(attempts):
        if attempt.failure != FailureClass.LOST or attempt.number in reported:
            break
        losses += 1
    return losses


def trials_of(session: Session, boot_id: str) -> Sequence[str]:
    """Return the trials that a worker runs."""
    return session.scalars(
        select(Attempt.trial_id).where(Attempt.boot_id == boot_id, Attempt.ended_at.is_(None))
    ).all()
