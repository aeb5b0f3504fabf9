"""Warm start: a search that begins with the candidates of an earlier one.

Candidates of the earlier search that lie in the new space become trials of kind `earlier`. They are
ranked and told to the study like others, never trained, and cost no budget. Trials that were
stopped early are left out, since they have no final value, and so are the baselines.

A fork begins with its parent's candidates, unless its document says otherwise or the values cannot
be compared. A search that names an earlier one itself is then refused, or fails.
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
from service.store.documents import NO_WARM_START
from service.store.models import Search, Trial

MAX_CANDIDATES = 1000
"""At most so many candidates, the best first, are copied."""


_TRANSFERRED_FAILURES = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED)
_FIELD = "warm_start.search"


def check_warm_start(session: Session, document: SearchSpec) -> None:
    """Check that the values of the earlier search can be compared with those of the new one.

    Raises:
        Invalid: If there is no such search, or if its task, start or objective differs.
    """
    message = _mismatch(session, document)
    if message is not None:
        assert document.warm_start is not None
        raise Invalid([Fault(_FIELD, message, document.warm_start.search)])


def no_warm_start_reason(session: Session, document: SearchSpec) -> str | None:
    """Return why a fork cannot begin with its parent's candidates, or None."""
    assert document.warm_start is not None
    message = _mismatch(session, document)
    if message is not None:
        return message
    earlier = session.get_one(Search, document.warm_start.search)
    found = next(_transferable(session, earlier), None)
    return "it has found nothing yet" if found is None else None


def incompatibility(session: Session, search: Search) -> str | None:
    """Return why a search that has its plan cannot begin with the earlier one, or None."""
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
    # Code that a worker did not name counts as equal.
    codes = earlier.pinned.get("code"), search.pinned.get("code")
    if None not in codes and codes[0] != codes[1]:
        return f"search {earlier.id} was trained by other code: {codes[0]}, now {codes[1]}"
    return None


def starts_from_parent(search: Search) -> bool:
    """Whether a search begins with the candidates of the search that it was forked from."""
    wanted = search.document.get("warm_start")
    return wanted is not None and wanted["search"] == search.forked_from


def add_earlier_trials(unit: UnitOfWork, space: Space) -> None:
    """Add the candidates of the earlier search. Call it when the baselines have been added."""
    session, search = unit.session, unit.search
    wanted = search.document.get("warm_start")
    if wanted is None or NO_WARM_START in search.pinned:
        return
    earlier = session.get_one(Search, wanted["search"])
    results = trials.results_by_key(session, earlier.id)
    for trial in _transferable(session, earlier):
        candidate = read_candidate(trial.candidate)
        params = space.params_of(candidate)
        key = space.key(candidate)
        if params is None or trials.first_with_key(session, search.id, key) is not None:
            continue
        if trial.failure is None and unmeasured_limits(search, trial):
            continue  # Whether this search allows it is unknown; it may still be proposed.
        mean = means(results.get(trial.key or "", ()))
        copy = unit.add_trial(
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
        if copy.failure is None and any(v > 0 for v in violations(search, copy).values()):
            # The new search has stricter limits.
            copy.state, copy.failure = TrialState.FAILED, FailureClass.INFEASIBLE
            copy.value = copy.values = None
        search.tells += 1
        copy.told = search.tells


def _mismatch(session: Session, document: SearchSpec) -> str | None:
    """Return why the two documents forbid a comparison, or None."""
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


def _transferable(session: Session, earlier: Search) -> Iterator[Trial]:
    """Yield the first trial of each candidate that completed or failed by its own fault."""
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
            completed | Trial.failure.in_(_TRANSFERRED_FAILURES),
        )
        .order_by(
            Trial.value.is_(None),
            Trial.value.desc() if maximize else Trial.value.asc(),
            Trial.number,
        )
        .limit(MAX_CANDIDATES)
    )
    yield from rows
