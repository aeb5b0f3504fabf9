"""A search's trials as a SQLite database that Optuna and its tools open."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyState
from sqlalchemy.orm import Session

from search_space.search import objectives_in
from search_space.space.space import Space
from service.store import trial_reports, trials
from service.store.documents import find_space
from service.store.models import Search, Trial
from service.study.live import TrialResult
from service.study.optuna_private import insert_trials
from service.trials.study_sync import result_of


def export(session: Session, search: Search, path: Path) -> None:
    """Write the trials that have ended for the study; the file appears when it is complete.

    Optuna numbers them without gaps; the user attribute `number` is the number in the search.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    url = f"sqlite:///{partial}"
    storage = RDBStorage(url)
    study = optuna.create_study(
        study_name=search.name,
        storage=storage,
        directions=[one["direction"] for one in objectives_in(search.document)],
    )
    study.set_user_attr("search", search.id)
    study.set_user_attr("document", search.document)
    # Optuna keeps a connection open, which would block the inserts and the rename.
    storage.remove_session()
    storage.engine.dispose()
    insert_trials(url, search.name, _frozen_trials(session, search))
    partial.replace(path)


def _frozen_trials(session: Session, search: Search) -> Iterator[FrozenTrial]:
    """Yield the trials that have ended for the study, in the order of its numbers."""
    space = find_space(search)
    if space is None:
        return
    reports = trial_reports.told(session, search.id)
    results = trials.results_by_key(session, search.id)
    ended = (trial for trial in trials.in_study(session, search.id) if trial.told is not None)
    for number, trial in enumerate(ended):
        result = result_of(search, trial, results)
        yield _frozen_trial(number, trial, result, reports.get(trial.id, []), space)


def _frozen_trial(
    number: int,
    trial: Trial,
    result: TrialResult,
    reports: list[tuple[int, float]],
    space: Space,
) -> FrozenTrial:
    params = dict(trial.params or {})
    # `tell` gives a pruned trial the value of its last report.
    last = [value for _, value in reports[-1:]]
    return FrozenTrial(
        number=number,
        trial_id=number + 1,
        state=result.state,
        value=None,
        values=last if result.state is StudyState.PRUNED else list(result.values),
        datetime_start=_time(trial.started_at or trial.created_at),
        datetime_complete=_time(trial.ended_at),
        params=params,
        distributions=space.distributions(params),
        user_attrs=dict(_user_attributes(trial)),
        system_attrs=dict(trial.optuna_attrs),
        intermediate_values=dict(reports),
    )


def _user_attributes(trial: Trial) -> Mapping[str, Any]:
    return {
        "trial": trial.id,
        "number": trial.number,
        "kind": trial.kind.value,
        "label": trial.label,
        "seed": trial.seed,
        "reason": trial.reason,
        "network": trial.candidate,
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
