"""The state transitions of a search: planned, paused, resumed, cancelled, ended.

Every function works in the unit of work of its caller.
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
from service.searches.warm_start import add_earlier_trials, incompatibility, starts_from_parent
from service.store import seed_blocks, trial_counts, trials, workers
from service.store.database import now
from service.store.documents import NO_WARM_START, PAIRED, document_of, space_of
from service.store.models import Bench, Search, Trial

SEARCH_CANCELLED = "the search was cancelled"


def set_state(unit: UnitOfWork, state: SearchState, reason: str | None = None) -> None:
    """Move a search to a state, and publish an event."""
    search = unit.search
    search.state = state
    search.reason = reason
    if state in ENDED_STATES:
        search.ended_at = now()
    budget.update_clock(unit.session, search)
    unit.publish_search()


def pause(unit: UnitOfWork) -> None:
    """Hand out no more trials; running ones checkpoint at their next report and are requeued."""
    search = unit.search
    if search.state not in LIVE_STATES or search.wanted in ENDING:
        raise WrongState("pause", state_text(search), [state.value for state in LIVE_STATES])
    pause_because(unit, "paused by the user")


def pause_because(unit: UnitOfWork, reason: str) -> None:
    """Pause a search for a reason that its user sees."""
    unit.search.wanted = Wanted.PAUSE
    set_state(unit, SearchState.PAUSED, reason)


def resume(unit: UnitOfWork) -> None:
    """Go on after a pause. Benched workers get work again."""
    search = unit.search
    if search.state != SearchState.PAUSED:
        raise WrongState("resume", state_text(search), [SearchState.PAUSED.value])
    search.wanted = Wanted.RUN
    search.failures_in_a_row = 0
    unit.session.execute(delete(Bench).where(Bench.search_id == search.id))
    set_state(unit, _live_state(search))
    finish_if_done(unit)


def cancel(unit: UnitOfWork) -> None:
    """Start no more trials; running ones finish."""
    if unit.search.wanted in ENDING:
        raise _cannot_end("cancel", unit.search)
    _end_with(unit, Wanted.CANCEL, "cancelled by the user; running trials finish")


def kill(unit: UnitOfWork) -> None:
    """Start no more trials; running ones are stopped at their next report or heartbeat."""
    if unit.search.wanted == Wanted.KILL:
        raise _cannot_end("kill", unit.search)
    _end_with(
        unit,
        Wanted.KILL,
        "killed by the user; running trials end at their next report or heartbeat",
    )


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
    return WrongState(action, state_text(search), [state.value for state in allowed])


def cancel_waiting(unit: UnitOfWork, reason: str, *where: ColumnElement[bool]) -> None:
    """Cancel the waiting trials that meet every condition."""
    ended = unit.session.scalars(
        update(Trial)
        .where(Trial.search_id == unit.search.id, Trial.state == TrialState.WAITING, *where)
        .values(state=TrialState.CANCELLED, ended_at=now(), value=None, reason=reason)
        .returning(Trial)
        .execution_options(populate_existing=True)
    ).all()
    if any(trial.optuna_number is not None for trial in ended):
        # The live study still has them as running. A rebuilt one has them as failed.
        unit.context.studies.discard(unit.search.id)
    for trial in ended:
        unit.publish_trial(trial)


def requeue_cancelled(unit: UnitOfWork) -> bool:
    """Requeue the trials that were cancelled since the hours were spent; return if any was."""
    requeued = unit.session.scalars(
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
    if requeued:
        # A live study that was rebuilt meanwhile has them as failed.
        unit.context.studies.discard(unit.search.id)
    for trial in requeued:
        unit.publish_trial(trial)
    return bool(requeued)


def plan(unit: UnitOfWork, found: SitePlan) -> None:
    """Store the plan of an inspection and add the baselines, or fail the search."""
    session, search, document = unit.session, unit.search, document_of(unit.search)
    search.plan = to_data(found)
    search.fingerprint = found.fingerprint
    # Pinned again: at submission no worker may have offered the task, and so the epochs.
    kept = {
        key: search.pinned[key] for key in ("code", NO_WARM_START, PAIRED) if key in search.pinned
    }
    search.pinned = pin(document, workers.offers(session, document.task.name)) | kept
    try:
        space = make_space(document, found)
    except SearchSpaceError as error:
        fail(unit, str(error))
        return
    mismatch = incompatibility(session, search)
    if mismatch is not None and not starts_from_parent(search):
        fail(unit, f"warm_start.search: {mismatch}")
        return
    if mismatch is not None:
        search.pinned = {**search.pinned, NO_WARM_START: mismatch}
    for seed in range(document.baselines.original_seeds):
        _add_baseline(unit, space, trials.ORIGINAL, space.original, seed)
    if document.baselines.uniform:
        original = space.key(space.original)
        for name, candidate in space.uniforms.items():
            # Two choices can be the same network, and one of them can be the original.
            known = trials.first_with_key(session, search.id, space.key(candidate))
            if known is None and space.key(candidate) != original:
                _add_baseline(unit, space, f"uniform {name}", candidate)
    add_earlier_trials(unit, space)
    if search.wanted == Wanted.RUN:
        set_state(unit, SearchState.QUEUED)


def fail(unit: UnitOfWork, reason: str) -> None:
    """End a search that cannot go on."""
    cancel_waiting(unit, f"the search failed: {reason}")
    set_state(unit, SearchState.FAILED, reason)


def finish_if_done(unit: UnitOfWork) -> None:
    """End a search that has nothing left to do, or add the next stage of its confirmation."""
    session, search = unit.session, unit.search
    overrun = _cancel_over_budget(unit)
    if search.state in ENDED_STATES or trial_counts.unfinished(session, search.id):
        return
    if search.wanted in ENDING:
        set_state(unit, SearchState.CANCELLED, f"{_ended_by(search)} by the user")
    elif search.plan is not None and search.wanted == Wanted.RUN:
        reason = overrun or nothing_more_to_propose(session, search)
        if reason is not None:
            _complete(unit, reason)


def _cancel_over_budget(unit: UnitOfWork) -> str | None:
    """Cancel waiting trials for which no hours are left; return which budget is spent, or None."""
    overrun: str | None = None
    if unit.search.state in LIVE_STATES:
        # Confirmations may use the hours that are reserved for them; other trials may not.
        for of_confirmation in (False, True):
            reserve = 0.0 if of_confirmation else confirmation.reserve(unit.search)
            reason = budget.overrun(unit.session, unit.search, reserve=reserve)
            if reason is not None:
                overrun = overrun or reason
                is_confirmation = Trial.kind == TrialKind.CONFIRMATION
                which = is_confirmation if of_confirmation else ~is_confirmation
                cancel_waiting(unit, reason, which, Trial.kind != TrialKind.INSPECTION)
    return overrun


def nothing_more_to_propose(session: Session, search: Search) -> str | None:
    """Return why the search proposes no more candidates, or None; its hours do not count."""
    spent = trial_counts.proposed(session, search.id)
    if spent >= search.budget:
        return f"all {spent} trials have ended"
    if is_exhausted(session, search):
        return f"every candidate of the space has been tried, {spent} of them as trials"
    return None


def _complete(unit: UnitOfWork, reason: str) -> None:
    """Confirm the winner if the document says so, else end the search."""
    search, confirm = unit.search, document_of(unit.search).confirm
    may_confirm = confirm and not budget.overrun(unit.session, search)
    if confirm and may_confirm and confirming.add_next_stage(unit, space_of(search), confirm):
        set_state(unit, search.state, f"{reason}; confirming")
    else:
        set_state(unit, SearchState.COMPLETED, reason)


def is_exhausted(session: Session, search: Search) -> bool:
    """Whether every candidate of the space has been tried or is being trained."""
    space = space_of(search)
    if seed_blocks.block_count(search):
        return seed_blocks.is_exhausted(session, search, space)
    # Cheap, and decides for all but the smallest spaces.
    if trials.next_optuna_number(session, search.id) + 1 < space.size:
        return False
    tried = trial_counts.distinct_keys(session, search.id)
    originals = trials.originals(session, search.id)
    if originals and space.params_of(space.original) is not None:
        # The original enters the study only when its last seed has ended, but it is being trained.
        tried += all(trial.optuna_number is None for trial in originals)
    return tried >= space.size


def _live_state(search: Search) -> SearchState:
    if search.plan is None:
        return SearchState.PREPARING
    return SearchState.QUEUED if search.started_at is None else SearchState.RUNNING


def state_text(search: Search) -> str:
    """Return the state of a search as text."""
    if search.wanted in ENDING and search.state not in ENDED_STATES:
        return f"{search.state.value} and being {_ended_by(search)}"
    return search.state.value


def _ended_by(search: Search) -> str:
    return "killed" if search.wanted == Wanted.KILL else "cancelled"


def _add_baseline(
    unit: UnitOfWork, space: Space, label: str, candidate: Candidate, seed: int = 0
) -> None:
    """Add a baseline as a waiting trial. One that lies in the space is part of the study."""
    block = seed if seed_blocks.block_count(unit.search) else None
    # Without blocks the seeds of the original are one trial of the study, which is added later.
    is_later = label == trials.ORIGINAL and block is None
    params = None if is_later else space.params_of(candidate)
    optuna_number = None
    if params is not None:
        optuna_number = trials.next_optuna_number(unit.session, unit.search.id)
    unit.add_trial(
        space,
        TrialKind.BASELINE,
        candidate,
        seed_block=block,
        label=label,
        params=params,
        optuna_number=optuna_number,
    )
