"""The trials of a search as Optuna has them, read from the rows for figures and exports."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, defer

from search_space.search import objectives_in
from search_space.space.space import Space
from service.insight.figure import sampled
from service.schemas.states import TrialState
from service.store import trials
from service.store.documents import space_of
from service.store.models import Search, Trial


def completed(session: Session, search: Search) -> Sequence[Trial]:
    """Return the completed trials of the study, repeats aside; at most `MAX_POINTS` of them."""
    where = (
        Trial.search_id == search.id,
        Trial.optuna_number.is_not(None),
        Trial.state == TrialState.COMPLETED,
        Trial.value.is_not(None),
        Trial.repeat_of.is_(None),
    )
    numbers = session.scalars(select(Trial.number).where(*where).order_by(Trial.number)).all()
    return _rows(session, *where, Trial.number.in_(sampled(numbers)))


def count_completed(session: Session, search: Search) -> int:
    return trials.count(
        session,
        search.id,
        Trial.optuna_number.is_not(None),
        Trial.state == TrialState.COMPLETED,
        Trial.repeat_of.is_(None),
    )


def make_study(search: Search, rows: Sequence[Trial]) -> optuna.Study:
    """Return a study that holds completed trials, to be looked at and thrown away."""
    space = space_of(search)
    study = optuna.create_study(direction=objectives_in(search.document)[0]["direction"])
    study.add_trials([_frozen(row, space) for row in rows])
    for trial in study.get_trials(deepcopy=False):
        # The study has copied them. Optuna compares the distributions of trials again and again;
        # equal objects are compared whole, the same object at once.
        trial.distributions = space.distributions(trial.params)
    return study


def _rows(session: Session, *where: ColumnElement[bool]) -> Sequence[Trial]:
    query = select(Trial).where(*where).order_by(Trial.optuna_number)
    return session.scalars(query.options(defer(Trial.candidate))).all()


def _frozen(row: Trial, space: Space) -> FrozenTrial:
    params = dict(row.params or {})
    return create_trial(value=row.value, params=params, distributions=space.distributions(params))
