"""What a search has spent of its hours. What counts is stored, never estimated.

The hours of a search that confirms its winner are spent in two parts: so much is kept for the
confirmation as its trainings will take at the pace of those that have completed, at most half.
"""

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind, TrialKind
from service.results import confirmation
from service.schemas.states import SearchState
from service.store import searches
from service.store.database import now
from service.store.documents import document_of
from service.store.models import Attempt, Search, Trial

HOUR = 3600.0
MOST_KEPT = 0.5
"""Share of a budget of hours that is kept for the confirmation at most."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours in which the search ran, and those of its attempts by their share of GPUs."""

    running: float
    gpu: float


def keep_time(session: Session, search: Search) -> None:
    """Start or stop the search's clock, as its state says."""
    is_running = search.state == SearchState.RUNNING
    if is_running and search.running_since is None:
        search.running_since = searches.clock(session)
    elif not is_running and search.running_since is not None:
        search.ran_seconds += searches.clock(session) - search.running_since
        search.running_since = None


def hours(session: Session, search: Search) -> Hours:
    """Return what a search has spent until now."""
    return Hours(_running_hours(session, search), _gpu_hours(session, search))


def overrun(session: Session, search: Search, *, confirming: bool) -> str | None:
    """Return which budget of hours is spent, in words, or None.

    Args:
        confirming: Ask for the whole of the budget, not for the part before the confirmation.
    """
    if search.budget_hours is not None:
        kept = 0.0 if confirming else _kept(session, search, gpu=False)
        left = search.budget_hours - min(kept, MOST_KEPT * search.budget_hours)
        if _running_hours(session, search) >= left:
            return f"the budget of {search.budget_hours:g} hours is spent"
    if search.budget_gpu_hours is not None:
        kept = 0.0 if confirming else _kept(session, search, gpu=True)
        left = search.budget_gpu_hours - min(kept, MOST_KEPT * search.budget_gpu_hours)
        if _gpu_hours(session, search) >= left:
            return f"the budget of {search.budget_gpu_hours:g} GPU hours is spent"
    return None


def _running_hours(session: Session, search: Search) -> float:
    seconds = search.ran_seconds
    if search.running_since is not None:
        seconds += searches.clock(session) - search.running_since
    return seconds / HOUR


def _gpu_hours(session: Session, search: Search) -> float:
    """Sum the attempts; one that fell silent counts until its lease ran out."""
    ended = func.coalesce(Attempt.ended_at, now())
    until = case((ended > Attempt.expires_at, Attempt.expires_at), else_=ended)
    seconds = session.scalar(
        select(func.sum((until - Attempt.started_at) * Attempt.gpus))
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.search_id == search.id)
    )
    return (seconds or 0.0) / HOUR


def _kept(session: Session, search: Search, *, gpu: bool) -> float:
    """Return the hours that the confirmation will take at the pace of what has completed."""
    document = document_of(search)
    if document.confirm is None:
        return 0.0
    trainings = confirmation.most_trials(document.confirm, uniform=document.baselines.uniform)
    seconds = Attempt.ended_at - Attempt.started_at
    mean = session.scalar(
        select(func.avg(seconds * Attempt.gpus if gpu else seconds))
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(
            Trial.search_id == search.id,
            Trial.kind.in_((TrialKind.BASELINE, TrialKind.PROPOSED, TrialKind.MANUAL)),
            Attempt.outcome == OutcomeKind.COMPLETED,
        )
    )
    epochs = search.pinned["epochs"]
    longer = (document.confirm.epochs or epochs or 1) / (epochs or document.confirm.epochs or 1)
    side_by_side = 1 if gpu else search.parallel
    return trainings * (mean or 0.0) * longer / side_by_side / HOUR
