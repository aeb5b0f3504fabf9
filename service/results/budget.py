"""The hours that a search has spent, and whether its budget of hours is overrun.

A search that confirms its winner reserves hours for that: as many as the confirmation will take at
the pace of the trials that have completed, and at most half of the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind, TrialKind
from service.schemas.states import SearchState
from service.store import searches
from service.store.database import now
from service.store.models import Attempt, Search, Trial

HOUR = 3600.0
MAX_RESERVED_SHARE = 0.5
"""Largest share of a budget of hours that is reserved for the confirmation."""

_ENDED = func.coalesce(Attempt.ended_at, now())
# An attempt without heartbeats counts until its lease expires.
_UNTIL = case((Attempt.expires_at < _ENDED, Attempt.expires_at), else_=_ENDED)
_GPU_SECONDS = func.sum((_UNTIL - Attempt.started_at) * Attempt.gpus)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours in which the search was running, and hours of its attempts times their GPUs."""

    running: float
    gpu: float


def update_clock(session: Session, search: Search) -> None:
    """Start or stop the clock of a search by its state."""
    is_running = search.state == SearchState.RUNNING
    if is_running and search.running_since is None:
        search.running_since = searches.clock(session)
    elif not is_running and search.running_since is not None:
        search.ran_seconds += searches.clock(session) - search.running_since
        search.running_since = None


def hours(session: Session, search: Search) -> Hours:
    """Return the hours that a search has spent until now."""
    return hours_each(session, [search])[search.id]


def hours_each(session: Session, found: Sequence[Search]) -> dict[str, Hours]:
    """Return the hours that each search has spent, by its id, with one statement."""
    rows = session.execute(
        select(Search.id, now(), _GPU_SECONDS)
        .outerjoin(Trial, Trial.search_id == Search.id)
        .outerjoin(Attempt, Attempt.trial_id == Trial.id)
        .where(Search.id.in_([search.id for search in found]))
        .group_by(Search.id)
    )
    spent = {search_id: (time, seconds or 0.0) for search_id, time, seconds in rows}
    return {
        search.id: Hours(_running_seconds(search, time) / HOUR, seconds / HOUR)
        for search in found
        for time, seconds in [spent[search.id]]
    }


def overrun(session: Session, search: Search, *, reserve: float = 0.0) -> str | None:
    """Return which budget of hours is spent, as text, or None.

    Args:
        reserve: Number of trainings for which hours are reserved, such as those of its confirmation
            (`confirmation.reserve`).
    """
    if search.budget_hours is None and search.budget_gpu_hours is None:
        return None
    spent = hours(session, search)
    if search.budget_hours is not None:
        reserved = _reserved(session, reserve / search.parallel, search, gpu=False)
        if spent.running >= search.budget_hours - min(
            reserved, MAX_RESERVED_SHARE * search.budget_hours
        ):
            return f"the budget of {search.budget_hours:g} hours is spent"
    if search.budget_gpu_hours is not None:
        reserved = _reserved(session, reserve, search, gpu=True)
        if spent.gpu >= search.budget_gpu_hours - min(
            reserved, MAX_RESERVED_SHARE * search.budget_gpu_hours
        ):
            return f"the budget of {search.budget_gpu_hours:g} GPU hours is spent"
    return None


def _running_seconds(search: Search, time: float) -> float:
    running = 0.0 if search.running_since is None else time - search.running_since
    return search.ran_seconds + running


def _reserved(session: Session, trainings: float, search: Search, *, gpu: bool) -> float:
    """Return the hours that trainings will take at the pace of the completed attempts."""
    if not trainings:
        return 0.0
    seconds = Attempt.ended_at - Attempt.started_at
    mean = session.scalar(
        select(func.avg(seconds * Attempt.gpus if gpu else seconds))
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(
            Trial.search_id == search.id,
            # Confirmations may have another length, which `reserve` takes into account.
            Trial.kind.in_((TrialKind.BASELINE, TrialKind.PROPOSED, TrialKind.MANUAL)),
            Attempt.outcome == OutcomeKind.COMPLETED,
        )
    )
    return trainings * (mean or 0.0) / HOUR
