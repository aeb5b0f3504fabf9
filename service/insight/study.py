"""The completed trials of a search, from the rows, as an Optuna study for figures."""

from collections.abc import Sequence

import optuna
from optuna.trial import create_trial
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, defer

from search_space.search import objectives_in
from service.insight.figure import downsample
from service.schemas.states import TrialState
from service.store import trials
from service.store.documents import space_of
from service.store.models import Search, Trial
from service.study.optuna_private import set_params


def completed(session: Session, search: Search) -> Sequence[Trial]:
    """Return the completed trials of the study without repeats: at most `MAX_POINTS`, spread."""
    where = (
        Trial.search_id == search.id,
        Trial.optuna_number.is_not(None),
        Trial.state == TrialState.COMPLETED,
        Trial.value.is_not(None),
        Trial.repeat_of.is_(None),
    )
    numbers = session.scalars(select(Trial.number).where(*where).order_by(Trial.number)).all()
    return _rows(session, *where, Trial.number.in_(downsample(numbers)))


def count_completed(session: Session, search: Search) -> int:
    return trials.count(
        session,
        search.id,
        Trial.optuna_number.is_not(None),
        Trial.state == TrialState.COMPLETED,
        Trial.repeat_of.is_(None),
    )


def make_study(search: Search, rows: Sequence[Trial]) -> optuna.Study:
    """Return a study in memory that holds completed trials, to be read only."""
    space = space_of(search)
    study = optuna.create_study(direction=objectives_in(search.document)[0]["direction"])
    for number, row in enumerate(rows):
        study.add_trial(create_trial(value=row.value))
        params = dict(row.params or {})
        set_params(study, number, params, space.distributions(params))
    return study


def _rows(session: Session, *where: ColumnElement[bool]) -> Sequence[Trial]:
    query = select(Trial).where(*where).order_by(Trial.optuna_number)
    return session.scalars(query.options(defer(Trial.candidate))).all()
