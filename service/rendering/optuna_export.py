"""A search's trials as a SQLite database that Optuna and its tools open.

Optuna makes the tables; the rows go in at once, where adding trial by trial would take
minutes for thousands. What they hold is Optuna's documented schema, checked by loading it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import TrialState as StudyState
from sqlalchemy import Connection, MetaData, create_engine, insert
from sqlalchemy.orm import Session

from search_space.search import objectives_in
from search_space.space.space import Space
from service.store import trial_reports, trials
from service.store.documents import space_of
from service.store.models import Search, Trial
from service.trials.study_sync import result_of

Rows = dict[str, list[dict[str, Any]]]

_BATCH = 2000
_FINITE = "FINITE"


def export(session: Session, search: Search, path: Path) -> None:
    """Write the trials that Optuna was told of; the file appears when it is whole.

    Optuna numbers them without gaps; `number` among a trial's attributes is the search's.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    url = f"sqlite:///{partial}"
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(
        study_name=search.name,
        storage=storage,
        directions=[one["direction"] for one in objectives_in(search.document)],
    )
    study.set_user_attr("search", search.id)
    study.set_user_attr("document", search.document)
    study_id = study._study_id
    storage.remove_session()
    storage.engine.dispose()
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            _fill(connection, _rows(session, search, study_id))
    finally:
        engine.dispose()
    partial.replace(path)


def _fill(connection: Connection, rows: Rows) -> None:
    tables = MetaData()
    tables.reflect(connection, only=list(rows))
    for name, values in rows.items():
        for start in range(0, len(values), _BATCH):
            connection.execute(insert(tables.tables[name]), values[start : start + _BATCH])


def _rows(session: Session, search: Search, study_id: int) -> Rows:
    """Return the rows of every table, by its name, in an order that references allow."""
    tables = (
        "trials",
        "trial_values",
        "trial_params",
        "trial_intermediate_values",
        "trial_user_attributes",
        "trial_system_attributes",
    )
    rows: Rows = {table: [] for table in tables}
    told = [] if search.plan is None else _told(session, search)
    if not told:
        return rows
    space = space_of(search)
    reports = trial_reports.told(session, search.id)
    results = trials.results_by_key(session, search.id)
    for number, trial in enumerate(told):
        end = result_of(search, trial, results)
        key = {"trial_id": number + 1}
        curve = reports.get(trial.id, [])
        # Optuna itself gives what was pruned the value of its last report.
        values = [at for _, at in curve[-1:]] if end.state is StudyState.PRUNED else end.values
        rows["trials"].append(
            {
                **key,
                "number": number,
                "study_id": study_id,
                "state": end.state.name,
                "datetime_start": _time(trial.started_at or trial.created_at),
                "datetime_complete": _time(trial.ended_at),
            }
        )
        rows["trial_values"] += [
            {**key, "objective": objective, "value": value, "value_type": _FINITE}
            for objective, value in enumerate(values)
        ]
        rows["trial_params"] += [{**key, **one} for one in _params(trial.params or {}, space)]
        rows["trial_intermediate_values"] += [
            {
                **key,
                "step": step,
                "intermediate_value": at,
                "intermediate_value_type": _FINITE,
            }
            for step, at in curve
        ]
        rows["trial_user_attributes"] += [{**key, **one} for one in _attrs(_about(trial))]
        rows["trial_system_attributes"] += [{**key, **one} for one in _attrs(trial.optuna_attrs)]
    return rows


def _told(session: Session, search: Search) -> Sequence[Trial]:
    """Return the trials that have ended for Optuna, in the order of its numbers."""
    return [trial for trial in trials.in_study(session, search.id) if trial.told is not None]


def _params(params: Mapping[str, Any], space: Space) -> Iterator[Mapping[str, Any]]:
    known = space.distributions(params)
    for name, value in params.items():
        yield {
            "param_name": name,
            "param_value": known[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(known[name]),
        }


def _about(trial: Trial) -> Mapping[str, Any]:
    return {
        "trial": trial.id,
        "number": trial.number,
        "kind": trial.kind.value,
        "label": trial.label,
        "seed": trial.seed,
        "reason": trial.reason,
        "network": trial.candidate,
    }


def _attrs(attrs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key, value in attrs.items():
        yield {"key": key, "value_json": json.dumps(value)}


def _time(seconds: float | None) -> datetime | None:
    """Return a moment as Optuna keeps it: in UTC, without saying so."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
