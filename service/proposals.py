"""New candidates: asked of the study, checked for repeats, entered as rows.

Whoever calls holds the search's study. Every ask becomes a row before anything else happens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from optuna.trial import TrialState as StudyState
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.sample import Space
from search_space.search import Range
from service import spending
from service.constraints import INFEASIBLE, violations
from service.core import Core
from service.dice import Dice
from service.documents import document_of, space_of
from service.entry import enter_trial, summary
from service.life import is_exhausted
from service.neighbours import neighbour
from service.objectives import means
from service.replicates import due, enter_replicate
from service.store import events, searches, trials
from service.store.database import now
from service.store.models import Search, Trial, TrialState, Wanted
from service.studies import Held, LiveStudy, Memory, Told, seed_of
from service.turn import Turn, take_turn

Given = TypeVar("Given")

MAX_REPEATS_IN_A_ROW = 20
RANDOM_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Proposal:
    """Parameters that the study holds under `number` and that no row holds yet."""

    params: dict[str, Any]
    number: int


def study_of(core: Core, held: Held, search: Search) -> LiveStudy:
    """Return a search's live study, rebuilt from the rows where there is none."""

    def rebuild() -> LiveStudy:
        with core.database.read() as session:
            remembered = memories(session, search)
        document, space = document_of(search), space_of(search)
        return LiveStudy(document, space, search.pinned, search.study_attributes, remembered)

    return held.get(rebuild)


def memories(session: Session, search: Search) -> list[Memory]:
    """Return what the rows know of every trial of the study."""
    reports = trials.told_reports(session, search.id)
    results = trials.results_by_key(session, search.id)
    return [
        Memory(
            params=dict(trial.params or {}),
            attrs=dict(trial.optuna_attrs),
            reports=reports.get(trial.id, []),
            told=told_of(search, trial, results) if _is_told(trial) else None,
        )
        for trial in trials.in_study(session, search.id)
    ]


def _is_told(trial: Trial) -> bool:
    """Whether the study knows how a trial ended; what was cancelled unbegun is told by its row."""
    return trial.told is not None or trial.state == TrialState.CANCELLED


def may_propose(session: Session, search: Search) -> bool:
    """Whether the search wants another candidate now."""
    return (
        search.wanted == Wanted.RUN
        and search.plan is not None
        and trials.proposed(session, search.id) < search.budget
        and trials.running(session, search.id) < search.parallel
        and not is_exhausted(session, search)
        and spending.overrun(session, search, confirming=False) is None
    )


def propose(
    core: Core, held: Held, search_id: str, hand_out: Callable[[Turn, Trial], Given]
) -> Given | None:
    """Enter a new trial and hand it out in the same transaction, or return None.

    Now and then it is a leader on a new seed. Otherwise the study is asked, outside any
    transaction; repeats of earlier candidates are entered on the way, told, and cost no budget.
    """
    for repeats in range(MAX_REPEATS_IN_A_ROW + 1):
        with core.database.read() as session:
            search = searches.get(session, search_id)
            if not may_propose(session, search):
                return None
            space, live = space_of(search), study_of(core, held, search)
            leader = due(session, search)
            proposal = None if leader else _ask(session, search, space, live, repeats)
        with take_turn(core, search_id) as turn:
            if leader is not None:
                return hand_out(turn, enter_replicate(turn, space, leader))
            assert proposal is not None
            trial = _insert(turn, space, live, proposal)
            if trial.repeat_of is None:
                return hand_out(turn, trial)
            earlier = trials.get(turn.session, trial.repeat_of)
            if earlier.told is not None and earlier.ended_at is not None:
                tell_repeat(turn, live, trial, earlier)
    return None


def unseen(session: Session, search: Search, space: Space, number: int) -> dict[str, Any]:
    """Return parameters of a candidate that has not been tried, drawn at random.

    Where draws do not find one, the first of the enumeration is taken: the caller has made
    sure that there is one.
    """
    rng = np.random.default_rng(seed_of(search.document["sampler"]["seed"], "unseen", number))
    for _ in range(RANDOM_DRAWS):
        params = space.suggest(Dice(rng))
        if _is_new(session, search, space.key(space.candidate(params))):
            return params
    if any(isinstance(values, Range) for values in space.hyperparameters.values()):
        return params
    return _next_of_grid(session, search, space)


def _next_of_grid(session: Session, search: Search, space: Space) -> dict[str, Any]:
    """Return the first candidate of the enumeration that has not been tried."""
    for params, candidate in space.enumerate():
        if _is_new(session, search, space.key(candidate)):
            return params
    raise RuntimeError("every candidate has been tried, and the search was not ended for it")


def _is_new(session: Session, search: Search, key: str) -> bool:
    return trials.first_with_key(session, search.id, key) is None


def told_of(search: Search, trial: Trial, results: trials.Results) -> Told:
    """Return what the study is told of a trial that has ended.

    A completed candidate's value is the mean over its trainings. What cannot be trained is told
    as pruned with a violated constraint: from a failure the sampler would learn nothing. Every
    constraint is set in every trial.
    """
    mean = means(results.get(trial.key or "", ()))
    # The first seed of the original stands for all of them, also where it has failed itself.
    is_trained = bool(mean) and (
        trial.state == TrialState.COMPLETED or trial.label == trials.ORIGINAL
    )
    constraints = violations(search, trial, is_trained=is_trained)
    if trial.stopped_at is not None:
        return Told(StudyState.PRUNED, (), constraints)
    if is_trained:
        return Told(StudyState.COMPLETE, mean, constraints)
    if trial.state == TrialState.STOPPED or trial.failure in INFEASIBLE:
        return Told(StudyState.PRUNED, (), constraints)
    return Told(StudyState.FAIL, (), constraints)


def tell(turn: Turn, trial: Trial) -> None:
    """Tell the study of a trial that has ended, and then of its repeats."""
    if trial.kind == TrialKind.CONFIRMATION:
        return
    live = study_of(turn.core, turn.held, turn.search)
    originals = trials.originals(turn.session, turn.search.id)
    if trial.label == trials.ORIGINAL:
        # Its seeds are told as one trial, with their mean, when the last of them has ended.
        trial = originals[0]
        if any(one.ended_at is None for one in originals) or not _enter(turn, live, trial):
            return
    if trial.optuna_number is not None and trial.told is None:
        _tell_end(turn, live, trial)
    if trial.state == TrialState.COMPLETED:
        _tell_mean(turn, live, trial)
    for repeat in trials.repeats(turn.session, trial.id):
        tell_repeat(turn, live, repeat, trial)


def tell_stop(turn: Turn, trial: Trial, step: int) -> None:
    """Tell the study that a trial was stopped which runs on to its end."""
    trial.stopped_at = step
    _tell_end(turn, study_of(turn.core, turn.held, turn.search), trial)


def tell_repeat(turn: Turn, live: LiveStudy, repeat: Trial, earlier: Trial) -> None:
    """End a repeat with what the earlier trial of the same candidate came to."""
    assert repeat.optuna_number is not None
    results = trials.results_by_key(turn.session, turn.search.id, earlier.key)
    told = told_of(turn.search, earlier, results)
    is_trained = told.state is StudyState.COMPLETE
    repeat.state = TrialState.COMPLETED if is_trained else earlier.state
    repeat.failure = None if is_trained else earlier.failure
    repeat.measurements = earlier.measurements
    repeat.stopped_at = earlier.stopped_at
    repeat.value = told.values[0] if told.values else earlier.value
    repeat.values = list(told.values) if earlier.values else None
    repeat.step = earlier.step
    repeat.reason = f"the same network as trial {earlier.number}"
    repeat.ended_at = now()
    live.tell(repeat.optuna_number, told)
    _note_told(turn, live, repeat)
    events.add(turn.session, turn.search, "trial", summary(repeat))


def _ask(session: Session, search: Search, space: Space, live: LiveStudy, repeats: int) -> Proposal:
    """Ask the study, unless the search begins near a uniform network.

    After too many repeats in a row, take an unseen candidate at random.
    """
    number = len(live)
    is_grid = search.pinned["sampler"]["name"] == "grid"
    near = neighbour(session, search, space, number)
    if near is not None:
        live.add(near)
        return Proposal(near, number)
    if repeats < MAX_REPEATS_IN_A_ROW and not is_grid:
        session.commit()  # No transaction stays open while the sampler works.
        return Proposal(live.ask(), number)
    if is_grid:
        params = _next_of_grid(session, search, space)
    else:
        params = unseen(session, search, space, number)
    live.add(params)
    return Proposal(params, number)


def _insert(turn: Turn, space: Space, live: LiveStudy, proposal: Proposal) -> Trial:
    candidate = space.candidate(proposal.params)
    key = space.key(candidate)
    turn.search.study_attributes = live.attributes
    earlier = trials.first_with_key(turn.session, turn.search.id, key)
    return enter_trial(
        turn,
        space,
        TrialKind.PROPOSED,
        candidate,
        params=proposal.params,
        optuna_number=proposal.number,
        optuna_attrs=live.attrs(proposal.number),
        repeat_of=None if earlier is None else earlier.id,
    )


def _enter(turn: Turn, live: LiveStudy, original: Trial) -> bool:
    """Give the original its place in the study, if it lies in the space."""
    space = space_of(turn.search)
    params = space.params_of(space.original)
    if params is None or original.optuna_number is not None:
        return False
    original.params = params
    original.optuna_number = len(live)
    live.add(params)
    return True


def _tell_end(turn: Turn, live: LiveStudy, trial: Trial) -> None:
    assert trial.optuna_number is not None
    results = trials.results_by_key(turn.session, turn.search.id, trial.key)
    live.tell(trial.optuna_number, told_of(turn.search, trial, results))
    _note_told(turn, live, trial)


def _tell_mean(turn: Turn, live: LiveStudy, newest: Trial) -> None:
    """Give a candidate that was trained again the mean over all of its trainings."""
    assert newest.key is not None
    results = trials.results_by_key(turn.session, turn.search.id, newest.key)
    if len(results[newest.key]) < 2:
        return
    for trial in trials.told_with_key(turn.session, turn.search.id, newest.key):
        told = told_of(turn.search, trial, results)
        if told.state is StudyState.COMPLETE and trial.optuna_number is not None:
            live.revalue(trial.optuna_number, told.values)


def _note_told(turn: Turn, live: LiveStudy, trial: Trial) -> None:
    assert trial.optuna_number is not None
    turn.search.tells += 1
    trial.told = turn.search.tells
    trial.optuna_attrs = live.attrs(trial.optuna_number)
