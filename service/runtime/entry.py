"""Entering a trial as a row, and what events say of it."""

from typing import Any

from search_space.contract import TrialKind
from search_space.space.space import Space
from search_space.spec import Candidate, to_data
from service.runtime.context import new_id
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import TrialState
from service.store import trials
from service.store.database import now
from service.store.models import Trial
from service.study.live import seed_of


def enter_trial(
    unit: UnitOfWork, space: Space, kind: TrialKind, candidate: Candidate, **columns: Any
) -> Trial:
    """Enter a trial that waits, with the next number of its search and the seed that follows."""
    number = trials.next_number(unit.session, unit.search.id)
    trial = Trial(
        id=new_id("t"),
        search_id=unit.search.id,
        number=number,
        kind=kind,
        attempt=0,
        candidate=to_data(space.canonical(candidate)),
        key=space.key(candidate),
        seed=seed_of(unit.search.document["sampler"]["seed"], "trial", number),
        created_at=now(),
        **{"state": TrialState.WAITING, "optuna_attrs": {}, **columns},
    )
    unit.session.add(trial)
    unit.session.flush()
    return trial


def summary(trial: Trial) -> dict[str, Any]:
    """Return what an event says of a trial."""
    return {
        "id": trial.id,
        "number": trial.number,
        "kind": trial.kind.value,
        "label": trial.label,
        "state": trial.state.value,
        "attempt": trial.attempt,
        "value": trial.value,
        "reason": trial.reason,
    }
