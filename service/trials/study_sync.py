"""Synchronizes the live study of a search with the rows of its trials."""

from optuna.trial import TrialState as StudyState
from sqlalchemy import update
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.results.constraints import INFEASIBLE, violations
from service.results.objectives import means
from service.runtime.context import Context
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import TrialState
from service.store import trial_reports, trials
from service.store.database import now
from service.store.documents import document_of, space_of
from service.store.models import Search, Trial
from service.store.seed_blocks import block_count
from service.study.live import LiveStudy, LockedStudy, StoredTrial, TrialResult


def study_of(context: Context, locked_study: LockedStudy, search: Search) -> LiveStudy:
    """Return the live study of a search; if there is none, rebuild it from the rows."""

    def rebuild() -> LiveStudy:
        with context.database.read() as session:
            stored = stored_trials(session, search)
        document, space = document_of(search), space_of(search)
        return LiveStudy(document, space, search.pinned, search.study_attributes, stored)

    return locked_study.get(rebuild)


def stored_trials(session: Session, search: Search) -> list[StoredTrial]:
    """Return every trial of the study as its rows have it, for a rebuild."""
    reports = trial_reports.told(session, search.id)
    results = trials.results_by_key(session, search.id)
    return [
        StoredTrial(
            params=dict(trial.params or {}),
            attrs=dict(trial.optuna_attrs),
            reports=reports.get(trial.id, []),
            told=result_of(search, trial, results) if _is_told(trial) else None,
        )
        for trial in trials.in_study(session, search.id)
    ]


def _is_told(trial: Trial) -> bool:
    """Whether a rebuilt study gets the result of a trial; cancelled trials are told as failed."""
    return trial.told is not None or trial.state == TrialState.CANCELLED


def result_of(search: Search, trial: Trial, results: trials.Results) -> TrialResult:
    """Return the result of an ended trial for the study.

    The value of a completed candidate is the mean over its trainings. A candidate that cannot be
    trained is pruned with a violated constraint: samplers ignore failed trials, and would propose
    it again. Every trial has all constraints of the search.
    """
    mean = means(_results_of(search, trial, results))
    # The first seed represents all seeds of the original, even if that one has failed.
    is_trained = bool(mean) and (
        trial.state == TrialState.COMPLETED or trial.label == trials.ORIGINAL
    )
    constraints = violations(search, trial, is_trained=is_trained)
    if trial.repeat_of is not None and block_count(search):
        # The training that it repeats is an observation of the model already.
        return TrialResult(StudyState.FAIL, (), constraints)
    if trial.stopped_at is not None:
        return TrialResult(StudyState.PRUNED, (), constraints)
    if is_trained:
        return TrialResult(StudyState.COMPLETE, mean, constraints)
    if trial.state == TrialState.STOPPED or trial.failure in INFEASIBLE:
        return TrialResult(StudyState.PRUNED, (), constraints)
    return TrialResult(StudyState.FAIL, (), constraints)


def tell(unit: UnitOfWork, trial: Trial) -> None:
    """Tell the study the result of an ended trial, and that of its repeats."""
    if trial.kind == TrialKind.CONFIRMATION:
        return
    live = study_of(unit.context, unit.locked_study, unit.search)
    originals = trials.originals(unit.session, unit.search.id)
    if trial.label == trials.ORIGINAL and not block_count(unit.search):
        # All seeds are one trial of the study, with their mean, told when the last has ended.
        trial = originals[0]
        if any(one.ended_at is None for one in originals) or not _add_original(unit, live, trial):
            return
    if trial.optuna_number is not None and trial.told is None:
        _tell_end(unit, live, trial)
    if trial.state == TrialState.COMPLETED and not block_count(unit.search):
        _tell_mean(unit, live, trial)
    for repeat in trials.repeats(unit.session, trial.id):
        tell_repeat(unit, live, repeat, trial)
    _store_estimates(unit, live)


def _results_of(search: Search, trial: Trial, results: trials.Results) -> trials.KeyResults:
    """Return the results of all trainings of a trial's candidate, or its own with seed blocks.

    A model has every training as a trial of its own; other samplers have one for each candidate.
    """
    if not block_count(search):
        return results.get(trial.key or "", ())
    return [(trial.value, trial.values)] if trial.state == TrialState.COMPLETED else []


def _store_estimates(unit: UnitOfWork, live: LiveStudy) -> None:
    """Store what the sampler's model estimates of each candidate, at all of its trials."""
    estimates = live.estimates()
    if estimates is None:
        return
    ids = trials.ids_by_optuna_number(unit.session, unit.search.id)
    # The new row may not be flushed yet, and rows are updated by their ids.
    unit.session.flush()
    rows = [
        {
            "id": ids[number],
            "estimate": one.mean,
            "estimate_low": one.low,
            "estimate_high": one.high,
            "beats_uniform": one.beats_rival,
        }
        for one in estimates.ranking(estimates.best_uniform)
        for number in one.trials
    ]
    if rows:
        unit.session.execute(update(Trial), rows)


def tell_stop(unit: UnitOfWork, trial: Trial, step: int) -> None:
    """Tell the study that a trial was stopped at an epoch, though it runs on to its end."""
    trial.stopped_at = step
    _tell_end(unit, study_of(unit.context, unit.locked_study, unit.search), trial)


def tell_repeat(unit: UnitOfWork, live: LiveStudy, repeat: Trial, earlier: Trial) -> None:
    """End a repeat with the result of the earlier trial of the same candidate."""
    assert repeat.optuna_number is not None
    results = trials.results_by_key(unit.session, unit.search.id, earlier.key)
    told = result_of(unit.search, earlier, results)
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
    live.tell(repeat.optuna_number, result_of(unit.search, repeat, results))
    _record_told(unit, live, repeat)
    unit.publish_trial(repeat)


def _add_original(unit: UnitOfWork, live: LiveStudy, original: Trial) -> bool:
    """Add the original to the study if it lies in the space; return whether it was added."""
    space = space_of(unit.search)
    params = space.params_of(space.original)
    if params is None or original.optuna_number is not None:
        return False
    original.params = params
    original.optuna_number = len(live)
    live.add(params)
    return True


def _tell_end(unit: UnitOfWork, live: LiveStudy, trial: Trial) -> None:
    assert trial.optuna_number is not None
    results = trials.results_by_key(unit.session, unit.search.id, trial.key)
    live.tell(trial.optuna_number, result_of(unit.search, trial, results))
    _record_told(unit, live, trial)


def _tell_mean(unit: UnitOfWork, live: LiveStudy, newest: Trial) -> None:
    """Set the values of a candidate with several trainings to their mean."""
    assert newest.key is not None
    results = trials.results_by_key(unit.session, unit.search.id, newest.key)
    if len(results[newest.key]) < 2:
        return
    for trial in trials.told_with_key(unit.session, unit.search.id, newest.key):
        told = result_of(unit.search, trial, results)
        if told.state is StudyState.COMPLETE and trial.optuna_number is not None:
            live.revalue(trial.optuna_number, told.values)


def _record_told(unit: UnitOfWork, live: LiveStudy, trial: Trial) -> None:
    assert trial.optuna_number is not None
    unit.search.tells += 1
    trial.told = unit.search.tells
    trial.optuna_attrs = live.attrs(trial.optuna_number)
