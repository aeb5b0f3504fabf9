"""The life of a search: planned, paused, resumed, cancelled, ended.

Every function works in the turn of its caller.
"""

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.errors import SearchSpaceError
from search_space.space.space import Space, make_space
from search_space.spec import Candidate, SitePlan, to_data
from service.errors import WrongState
from service.results import budget, confirmation
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import (
    ENDED_STATES,
    ENDING,
    LIVE_STATES,
    SearchState,
    TrialState,
    Wanted,
)
from service.searches import confirming
from service.searches.offers import pin
from service.searches.warm_start import cannot_be_compared, is_its_parents, take_over
from service.store import trials, workers
from service.store.database import now
from service.store.documents import COLD, document_of, space_of
from service.store.models import Bench, Search, Trial

SEARCH_CANCELLED = "the search was cancelled"


def set_state(unit: UnitOfWork, state: SearchState, reason: str | None = None) -> None:
    """Move a search to a state, and say so."""
    search = unit.search
    search.state = state
    search.reason = reason
    if state in ENDED_STATES:
        search.ended_at = now()
    budget.keep_time(unit.session, search)
    unit.publish_search()


def pause(unit: UnitOfWork) -> None:
    """Hand out nothing more; running trials checkpoint at their next report and come back."""
    search = unit.search
    if search.state not in LIVE_STATES or search.wanted in ENDING:
        raise WrongState("pause", described(search), [state.value for state in LIVE_STATES])
    pause_because(unit, "paused by the user")


def pause_because(unit: UnitOfWork, reason: str) -> None:
    """Pause a search for a reason that its user will read."""
    unit.search.wanted = Wanted.PAUSE
    set_state(unit, SearchState.PAUSED, reason)


def resume(unit: UnitOfWork) -> None:
    """Go on after a pause. Workers that were benched get another chance."""
    search = unit.search
    if search.state != SearchState.PAUSED:
        raise WrongState("resume", described(search), [SearchState.PAUSED.value])
    search.wanted = Wanted.RUN
    search.failures_in_a_row = 0
    unit.session.execute(delete(Bench).where(Bench.search_id == search.id))
    set_state(unit, _live_state(search))
    finish_if_done(unit)


def cancel(unit: UnitOfWork) -> None:
    """Start nothing more; running trials finish."""
    if unit.search.wanted in ENDING:
        raise _cannot_end("cancel", unit.search)
    _end_with(unit, Wanted.CANCEL, "cancelled by the user; running trials finish")


def kill(unit: UnitOfWork) -> None:
    """Start nothing more; running trials are told to end at their next word."""
    if unit.search.wanted == Wanted.KILL:
        raise _cannot_end("kill", unit.search)
    _end_with(unit, Wanted.KILL, "killed by the user; running trials end at their next word")


def _end_with(unit: UnitOfWork, wanted: Wanted, reason: str) -> None:
    search = unit.search
    if search.state in ENDED_STATES:
        raise _cannot_end(wanted.value, search)
    search.wanted = wanted
    state = _live_state(search) if search.state == SearchState.PAUSED else search.state
    cancel_waiting(unit, SEARCH_CANCELLED)
    set_state(unit, state, reason)
    finish_if_done(unit)


def _cannot_end(action: str, search: Search) -> WrongState:
    allowed = [*LIVE_STATES, SearchState.PAUSED]
    return WrongState(action, described(search), [state.value for state in allowed])


def cancel_waiting(unit: UnitOfWork, reason: str, *where: ColumnElement[bool]) -> None:
    """End what has not begun, or what of it meets every condition."""
    ended = unit.session.scalars(
        update(Trial)
        .where(Trial.search_id == unit.search.id, Trial.state == TrialState.WAITING, *where)
        .values(state=TrialState.CANCELLED, ended_at=now(), value=None, reason=reason)
        .returning(Trial)
        .execution_options(populate_existing=True)
    ).all()
    if any(trial.optuna_number is not None for trial in ended):
        # Untold trials that were cancelled enter a rebuilt study as failed.
        unit.context.studies.discard(unit.search.id)
    for trial in ended:
        unit.publish_trial(trial)


def requeue_cancelled(unit: UnitOfWork) -> bool:
    """Let wait again what was cancelled while the hours were spent; return whether any was."""
    revived = unit.session.scalars(
        update(Trial)
        .where(
            Trial.search_id == unit.search.id,
            Trial.state == TrialState.CANCELLED,
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .values(state=TrialState.WAITING, ended_at=None, reason=None)
        .returning(Trial)
        .execution_options(populate_existing=True)
    ).all()
    if revived:
        # As failed ones they have been in a rebuilt study.
        unit.context.studies.discard(unit.search.id)
    for trial in revived:
        unit.publish_trial(trial)
    return bool(revived)


def plan(unit: UnitOfWork, found: SitePlan) -> None:
    """Take in what the inspection found, and line up the baselines; or fail the search."""
    session, search, document = unit.session, unit.search, document_of(unit.search)
    search.plan = to_data(found)
    search.fingerprint = found.fingerprint
    # At submission there may have been no worker yet to tell how many epochs a trial lasts.
    kept = {key: search.pinned[key] for key in ("code", COLD) if key in search.pinned}
    search.pinned = pin(document, workers.offers(session, document.task.name)) | kept
    try:
        space = make_space(document, found)
    except SearchSpaceError as error:
        fail(unit, str(error))
        return
    mismatch = cannot_be_compared(session, search)
    if mismatch is not None and not is_its_parents(search):
        fail(unit, f"warm_start.search: {mismatch}")
        return
    if mismatch is not None:
        search.pinned = {**search.pinned, COLD: mismatch}
    for _ in range(document.baselines.original_seeds):
        _add_baseline(unit, space, trials.ORIGINAL, space.original)
    if document.baselines.uniform:
        original = space.key(space.original)
        for name, candidate in space.uniforms.items():
            # Two choices can be one network; the original is trained above, if at all.
            already = trials.first_with_key(session, search.id, space.key(candidate))
            if already is None and space.key(candidate) != original:
                _add_baseline(unit, space, f"uniform {name}", candidate)
    take_over(unit, space)
    if search.wanted == Wanted.RUN:
        set_state(unit, SearchState.QUEUED)


def fail(unit: UnitOfWork, reason: str) -> None:
    """End a search that cannot go on."""
    cancel_waiting(unit, f"the search failed: {reason}")
    set_state(unit, SearchState.FAILED, reason)


def finish_if_done(unit: UnitOfWork) -> None:
    """End a search that has nothing left to do."""
    session, search = unit.session, unit.search
    over = _close_what_is_spent(unit)
    if search.state in ENDED_STATES or trials.unfinished(session, search.id):
        return
    if search.wanted in ENDING:
        word = "killed" if search.wanted == Wanted.KILL else "cancelled"
        set_state(unit, SearchState.CANCELLED, f"{word} by the user")
    elif search.plan is not None and search.wanted == Wanted.RUN:
        reason = over or nothing_more_to_propose(session, search)
        if reason is not None:
            _complete(unit, reason)


def _close_what_is_spent(unit: UnitOfWork) -> str | None:
    """Cancel what waits and shall not begin any more, since the hours are spent."""
    over: str | None = None
    if unit.search.state in LIVE_STATES:
        for confirming in (False, True):
            kept = 0.0 if confirming else confirmation.reserve(unit.search)
            reason = budget.overrun(unit.session, unit.search, reserve=kept)
            if reason is not None:
                over = over or reason
                is_confirmation = Trial.kind == TrialKind.CONFIRMATION
                which = is_confirmation if confirming else ~is_confirmation
                cancel_waiting(unit, reason, which, Trial.kind != TrialKind.INSPECTION)
    return over


def nothing_more_to_propose(session: Session, search: Search) -> str | None:
    """Return why the search proposes no more candidates, apart from its hours, or None."""
    spent = trials.proposed(session, search.id)
    if spent >= search.budget:
        return f"all {spent} trials have ended"
    if is_exhausted(session, search):
        return f"every candidate of the space has been tried, {spent} of them as trials"
    return None


def _complete(unit: UnitOfWork, reason: str) -> None:
    """Confirm what was found, where that is wanted, and end."""
    search, confirm = unit.search, document_of(unit.search).confirm
    may_confirm = confirm and not budget.overrun(unit.session, search)
    if confirm and may_confirm and confirming.add_next_stage(unit, space_of(search), confirm):
        set_state(unit, search.state, f"{reason}; confirming")
    else:
        set_state(unit, SearchState.COMPLETED, reason)


def is_exhausted(session: Session, search: Search) -> bool:
    """Whether no candidate is left that has not been tried or begun."""
    space = space_of(search)
    if trials.next_optuna_number(session, search.id) + 1 < space.size:
        return False
    tried = trials.distinct_keys(session, search.id)
    originals = trials.originals(session, search.id)
    if originals and space.params_of(space.original) is not None:
        # Until it is told, the original has no place in the study, but it is being trained.
        tried += all(trial.optuna_number is None for trial in originals)
    return tried >= space.size


def _live_state(search: Search) -> SearchState:
    if search.plan is None:
        return SearchState.PREPARING
    return SearchState.QUEUED if search.started_at is None else SearchState.RUNNING


def described(search: Search) -> str:
    """Return the state of a search in words."""
    if search.wanted in ENDING and search.state not in ENDED_STATES:
        word = "killed" if search.wanted == Wanted.KILL else "cancelled"
        return f"{search.state.value} and being {word}"
    return search.state.value


def _add_baseline(unit: UnitOfWork, space: Space, label: str, candidate: Candidate) -> None:
    """Line up a baseline. One that lies in the space has its place in the study."""
    params = None if label == trials.ORIGINAL else space.params_of(candidate)
    place = None
    if params is not None:
        place = trials.next_optuna_number(unit.session, unit.search.id)
    unit.add_trial(
        space,
        TrialKind.BASELINE,
        candidate,
        label=label,
        params=params,
        optuna_number=place,
    )
