"""A search that begins with what an earlier one has found.

Candidates of the earlier search that lie in the new space become trials of kind `earlier`: ranked
and told to the study like others, never trained, never counted in the budget. What was stopped
early is left out, since it has no value at the end; so is what this search trains itself.

A fork begins with its parent, unless it is told otherwise or the values cannot be compared. A
search that names an earlier one by itself is refused then, or fails.
"""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import FailureClass, TrialKind, read_candidate
from search_space.search import SearchSpec, objectives_in
from search_space.space.space import Space
from service.errors import Fault, Invalid
from service.results.constraints import unmeasured_limits, violations
from service.results.objectives import means
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import TrialState, Wanted
from service.store import trials
from service.store.database import now
from service.store.documents import COLD
from service.store.models import Search, Trial

MOST_TAKEN = 1000
"""So many candidates, the best of the completed first, are taken over."""


_TELLING = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED)
_FIELD = "warm_start.search"


def check_warm_start(session: Session, document: SearchSpec) -> None:
    """Refuse to begin with a search whose values cannot be compared with the new ones.

    Raises:
        Invalid: If there is no such search, or it had another task, start or objective.
    """
    message = _mismatch(session, document)
    if message is not None:
        assert document.warm_start is not None
        raise Invalid([Fault(_FIELD, message, document.warm_start.search)])


def why_cold(session: Session, document: SearchSpec) -> str | None:
    """Return why a fork cannot begin with what its parent has found, or None."""
    assert document.warm_start is not None
    message = _mismatch(session, document)
    if message is not None:
        return message
    earlier = session.get_one(Search, document.warm_start.search)
    found = next(_worth_taking(session, earlier), None)
    return "it has found nothing yet" if found is None else None


def cannot_be_compared(session: Session, search: Search) -> str | None:
    """Return why a planned search cannot begin with the earlier one after all, or None."""
    wanted = search.document.get("warm_start")
    if wanted is None:
        return None
    earlier = _find(session, wanted["search"])
    if earlier is None:
        return f"search {wanted['search']} was deleted"
    if earlier.fingerprint != search.fingerprint:
        return f"the network of search {earlier.id} had other sites"
    if earlier.pinned["epochs"] != search.pinned["epochs"]:
        return f"search {earlier.id} trained for {earlier.pinned['epochs']} epochs"
    codes = earlier.pinned.get("code"), search.pinned.get("code")
    if None not in codes and codes[0] != codes[1]:
        return f"search {earlier.id} was trained by other code: {codes[0]}, now {codes[1]}"
    return None


def is_its_parents(search: Search) -> bool:
    """Whether a search begins with the one that it was forked from."""
    wanted = search.document.get("warm_start")
    return wanted is not None and wanted["search"] == search.forked_from


def take_over(unit: UnitOfWork, space: Space) -> None:
    """Enter what the earlier search has found. Called once the baselines are lined up."""
    session, search = unit.session, unit.search
    wanted = search.document.get("warm_start")
    if wanted is None or COLD in search.pinned:
        return
    earlier = session.get_one(Search, wanted["search"])
    results = trials.results_by_key(session, earlier.id)
    for trial in _worth_taking(session, earlier):
        candidate = read_candidate(trial.candidate)
        params = space.params_of(candidate)
        key = space.key(candidate)
        if params is None or trials.first_with_key(session, search.id, key) is not None:
            continue
        if trial.failure is None and unmeasured_limits(search, trial):
            continue  # Nobody knows whether it is allowed here; it may be proposed.
        mean = means(results.get(trial.key or "", ()))
        taken = unit.add_trial(
            space,
            TrialKind.EARLIER,
            candidate,
            label=f"trial {trial.number} of {earlier.id}",
            params=params,
            optuna_number=trials.next_optuna_number(session, search.id),
            state=trial.state,
            failure=trial.failure,
            value=mean[0] if mean else None,
            values=list(mean) if trial.values else None,
            step=trial.step,
            step_seconds=trial.step_seconds,
            measurements=trial.measurements,
            ended_at=now(),
        )
        if taken.failure is None and any(v > 0 for v in violations(search, taken).values()):
            # Other limits hold now.
            taken.state, taken.failure = TrialState.FAILED, FailureClass.INFEASIBLE
            taken.value = taken.values = None
        search.tells += 1
        taken.told = search.tells


def _mismatch(session: Session, document: SearchSpec) -> str | None:
    """Return what can be known before the inspection to forbid a comparison, or None."""
    if document.warm_start is None:
        return None
    earlier = _find(session, document.warm_start.search)
    if earlier is None:
        return "there is no such search"
    new = document.model_dump(mode="json")
    for part in ("task", "start"):
        if earlier.document[part] != new[part]:
            return f"its {part} was another: {earlier.document[part]!r}"
    objectives = objectives_in(earlier.document)
    if objectives != objectives_in(new):
        return f"its objective was another: {objectives!r}"
    return None


def _find(session: Session, search_id: str) -> Search | None:
    found = session.get(Search, search_id)
    return None if found is None or found.wanted == Wanted.DELETE else found


def _worth_taking(session: Session, earlier: Search) -> Iterator[Trial]:
    """Yield the first trial of each candidate that completed or cannot be trained."""
    maximize = objectives_in(earlier.document)[0]["direction"] == "maximize"
    completed = (Trial.state == TrialState.COMPLETED) & Trial.stopped_at.is_(None)
    rows = session.scalars(
        select(Trial)
        .where(
            Trial.search_id == earlier.id,
            Trial.candidate.is_not(None),
            Trial.kind != TrialKind.CONFIRMATION,
            Trial.repeat_of.is_(None),
            Trial.replicate_of.is_(None),
            (Trial.label != trials.ORIGINAL) | Trial.label.is_(None),
            completed | Trial.failure.in_(_TELLING),
        )
        .order_by(
            Trial.value.is_(None),
            Trial.value.desc() if maximize else Trial.value.asc(),
            Trial.number,
        )
        .limit(MOST_TAKEN)
    )
    yield from rows
