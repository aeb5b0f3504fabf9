"""Changes of a search while it runs; a completed one that may spend more runs on."""

from search_space.contract import TrialKind
from service.errors import WrongState
from service.results import budget, confirmation
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.requests import Changes
from service.schemas.states import ENDING, LIVE_STATES, SearchState
from service.searches.lifecycle import (
    cancel_waiting,
    finish_if_done,
    nothing_more_to_propose,
    requeue_cancelled,
    set_state,
    state_text,
)
from service.store import trials
from service.store.models import Trial

EXTENDED = "the search was extended, and will confirm its winner again"
_CHANGEABLE = (*LIVE_STATES, SearchState.PAUSED, SearchState.COMPLETED)


def change(unit: UnitOfWork, changes: Changes) -> None:
    """Apply changes; running trials go on in any case.

    Raises:
        WrongState: If a search that cannot go on is changed in more than its name.
    """
    search, given = unit.search, changes.given
    is_over = search.state not in _CHANGEABLE or search.wanted in ENDING
    if is_over and given.keys() - {"name"}:
        allowed = [state.value for state in _CHANGEABLE]
        raise WrongState("change the budget, parallel or priority of", state_text(search), allowed)
    for column, value in given.items():
        setattr(search, column, value)
    # The checks below read the new values by SQL.
    unit.session.flush()
    if search.plan is not None and not is_over and _can_continue(unit):
        _discard_confirmation(unit)
        if search.state == SearchState.COMPLETED:
            search.ended_at = None
            set_state(unit, SearchState.RUNNING)
    unit.publish_search()
    finish_if_done(unit)


def _can_continue(unit: UnitOfWork) -> bool:
    """Whether there is more to train than before the change, and hours for it."""
    session, search = unit.session, unit.search
    if budget.overrun(session, search, reserve=confirmation.reserve(search)) is None and (
        requeue_cancelled(unit) or nothing_more_to_propose(session, search) is None
    ):
        return True
    has_hours = budget.overrun(session, search) is None
    is_ended = search.state == SearchState.COMPLETED
    return is_ended and has_hours and confirmation.load(session, search).was_cut_off


def _discard_confirmation(unit: UnitOfWork) -> None:
    """Cancel a confirmation that has begun: the winner may be another after the extension."""
    if confirmation.load(unit.session, unit.search).trials:
        cancel_waiting(unit, EXTENDED, Trial.kind == TrialKind.CONFIRMATION)
        unit.search.confirm_from = trials.next_number(unit.session, unit.search.id)
