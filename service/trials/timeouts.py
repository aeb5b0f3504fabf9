"""The sweep that ends overdue attempts, by `timeout`, `stall`, or an expired lease."""

from search_space.contract import FailureClass, Outcome, OutcomeKind
from service.runtime.context import Context
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import Wanted
from service.searches.lifecycle import finish_if_done
from service.store import attempts, searches
from service.store.models import Attempt, Search
from service.trials.outcomes import end_open_attempt
from service.trials.retries import LEASE_EXPIRED


def end_overdue_attempts(context: Context) -> None:
    """End attempts that are over their time, and searches whose hours are spent.

    The attempts are found with one read, and each that seems overdue is checked again under its
    locks.
    """
    with context.database.read() as session:
        time = searches.clock(session)
        still_open = attempts.open_attempts(session)
        found = searches.existing(session, {search_id for *_, search_id in still_open})
        overdue = [
            (lease, search_id)
            for lease, times, search_id in still_open
            if search_id in found
            and _overdue_outcome(context, found[search_id], times, time) is not None
        ]
        limited = searches.with_budget_of_hours(session)

    def outcome_of(unit: UnitOfWork, attempt: Attempt) -> Outcome | None:
        times = attempts.Times(attempt.started_at, attempt.spoke_at, attempt.expires_at)
        return _overdue_outcome(context, unit.search, times, searches.clock(unit.session))

    for lease, search_id in overdue:
        end_open_attempt(context, lease, search_id, outcome_of)
    for search_id in limited:
        with unit_of_work(context, search_id) as unit:
            finish_if_done(unit)


def _overdue_outcome(
    context: Context, search: Search, times: attempts.Times, time: float
) -> Outcome | None:
    """Return how an attempt ends that is over its time, or None while it may go on."""
    timeout, stall = search.document["timeout"], search.document["stall"]
    if timeout is not None and time > times.started_at + timeout:
        return _timed_out(f"took longer than the timeout of {timeout:g} s")
    # Workers could not renew while no process was the leader.
    grace_is_over = time > context.started_at + context.settings.lease_seconds
    is_expired = times.expires_at < time
    # While the search runs, the scheduler takes expired attempts when a slot asks for work. Until
    # then a worker that was cut off can reconnect and renew its lease.
    if is_expired and grace_is_over and search.wanted != Wanted.RUN:
        return LEASE_EXPIRED
    if not is_expired and time > max(times.spoke_at, context.started_at) + stall:
        return _timed_out(f"reported nothing for {stall:g} s (stall)")
    return None


def _timed_out(message: str) -> Outcome:
    return Outcome(outcome=OutcomeKind.FAILED, failure=FailureClass.TIMEOUT, message=message)
