"""Changing a search while it runs; a completed one that may spend more runs on."""

from search_space.contract import TrialKind
from service import confirmation, spending
from service.asked import Changes
from service.errors import WrongState
from service.life import (
    announce,
    cancel_waiting,
    described,
    nothing_more_to_propose,
    revive,
    set_state,
    settle,
)
from service.store import trials
from service.store.models import ENDING, LIVE_STATES, SearchState, Trial
from service.turn import Turn

EXTENDED = "the search was extended, and will confirm anew"
_CHANGEABLE = (*LIVE_STATES, SearchState.PAUSED, SearchState.COMPLETED)


def change(turn: Turn, changes: Changes) -> None:
    """Put changes in force; running trials go on in any case.

    Raises:
        WrongState: If more than the name shall change of a search that is over for good.
    """
    search, given = turn.search, changes.given
    is_over = search.state not in _CHANGEABLE or search.wanted in ENDING
    if is_over and given.keys() - {"name"}:
        allowed = [state.value for state in _CHANGEABLE]
        raise WrongState("change the budget, parallel or priority of", described(search), allowed)
    for column, value in given.items():
        setattr(search, column, value)
    turn.session.flush()
    if search.plan is not None and not is_over and _may_go_on(turn):
        _confirm_anew(turn)
        if search.state == SearchState.COMPLETED:
            search.ended_at = None
            set_state(turn, SearchState.RUNNING)
    announce(turn)
    settle(turn)


def _may_go_on(turn: Turn) -> bool:
    """Whether there is more to train than the confirmation of before, and the hours for it."""
    session, search = turn.session, turn.search
    if spending.overrun(session, search, confirming=False) is None and (
        revive(turn) or nothing_more_to_propose(session, search) is None
    ):
        return True
    has_hours = spending.overrun(session, search, confirming=True) is None
    is_ended = search.state == SearchState.COMPLETED
    return is_ended and has_hours and confirmation.was_cut_off(session, search)


def _confirm_anew(turn: Turn) -> None:
    """Leave a confirmation that has begun: it would confirm who may not be the winner."""
    if trials.confirmations(turn.session, turn.search):
        cancel_waiting(turn, EXTENDED, Trial.kind == TrialKind.CONFIRMATION)
        turn.search.confirm_from = trials.next_number(turn.session, turn.search.id)
