"""The queue: the searches that have not ended, in the order in which slots ask them for work."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.results import budget, confirmation
from service.scheduling.wait_reasons import (
    SearchLoad,
    WorkerLoad,
    trial_wait_reason,
    wait_reason,
    worker_loads,
)
from service.schemas.searches import QueuedAnswer, WaitingTrialAnswer
from service.schemas.states import Wanted
from service.searches.lifecycle import nothing_more_to_propose
from service.store import queue, searches, trial_counts
from service.store.models import Search, Trial

SHOWN_TRIALS = 20


def read_queue(
    session: Session, *, start: int, limit: int, lease_seconds: float
) -> list[QueuedAnswer]:
    """Return the searches that have not ended, from place `start` on; the first is 0."""
    loads = worker_loads(session, lease_seconds)
    queued = [*searches.in_scheduling_order(session), *queue.paused_or_ending(session)]
    return [
        _answer(session, search, place, loads, queued[:place])
        for place, search in enumerate(queued[start : start + limit], start)
    ]


def _answer(
    session: Session,
    search: Search,
    place: int,
    loads: Sequence[WorkerLoad],
    ahead: Sequence[Search],
) -> QueuedAnswer:
    running = queue.running(session, search.id)
    waiting = queue.waiting(session, search.id, limit=SHOWN_TRIALS)
    to_propose = _to_propose(session, search)
    overrun = _overrun(session, search, [*waiting, *(trial for trial, _ in running)])
    has_work = overrun is None and bool(waiting or to_propose)
    load = SearchLoad(running, has_work, overrun)
    reason = wait_reason(session, search, load, loads, ahead)
    return QueuedAnswer(
        place=place,
        search=search.id,
        name=search.name,
        state=search.state,
        priority=search.priority,
        parallel=search.parallel,
        running=len(running),
        waiting=trial_counts.waiting(session, search.id),
        to_propose=to_propose,
        reason=reason.reason,
        explanation=reason.explanation,
        waits_for=list(reason.waits_for),
        trials=_waiting_trials(session, search, waiting),
    )


def _waiting_trials(
    session: Session, search: Search, waiting: Sequence[Trial]
) -> list[WaitingTrialAnswer]:
    benches = queue.benches(session, search.id)
    return [
        WaitingTrialAnswer(
            id=trial.id,
            number=trial.number,
            kind=trial.kind,
            attempt=trial.attempt,
            explanation=trial_wait_reason(session, trial, benches),
        )
        for trial in waiting
    ]


def _to_propose(session: Session, search: Search) -> int:
    """Return how many candidates the search will still propose at most."""
    if search.plan is None or search.wanted != Wanted.RUN:
        return 0
    if nothing_more_to_propose(session, search) is not None:
        return 0
    if budget.overrun(session, search, reserve=confirmation.reserve(search)) is not None:
        return 0
    return max(0, search.budget - trial_counts.proposed(session, search.id))


def _overrun(session: Session, search: Search, unfinished: Sequence[Trial]) -> str | None:
    """Return which budget of hours is spent, so that no more trials begin, or None."""
    # The hours that are reserved for the confirmation may be spent once it has begun.
    confirming = any(trial.kind == TrialKind.CONFIRMATION for trial in unfinished)
    reserve = 0.0 if confirming else confirmation.reserve(search)
    return budget.overrun(session, search, reserve=reserve)
