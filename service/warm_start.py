"""A search that begins with what an earlier one has found.

Candidates of the earlier search that lie in the new space become trials of kind `earlier`: ranked
and told to the study like others, never trained, never counted in the budget. What was stopped
early is left out, since it has no value at the end; so is what this search trains itself.
"""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import FailureClass, TrialKind, read_candidate
from search_space.sample import Space
from search_space.search import Search as Document
from search_space.search import objectives_in
from service.constraints import violations
from service.entry import enter_trial
from service.errors import Fault, Invalid
from service.objectives import means
from service.store import trials
from service.store.database import now
from service.store.models import Search, Trial, TrialState
from service.turn import Turn

MOST_TAKEN = 1000
"""So many candidates, the best of the completed first, are taken over."""

_TELLING = (FailureClass.OUT_OF_MEMORY, FailureClass.DIVERGED)
_FIELD = "warm_start.search"


def check_warm_start(session: Session, document: Document) -> None:
    """Refuse to begin with a search whose values cannot be compared with the new ones.

    Raises:
        Invalid: If there is no such search, or it had another task, start or objective.
    """
    if document.warm_start is None:
        return
    earlier = session.get(Search, document.warm_start.search)
    if earlier is None:
        raise Invalid([Fault(_FIELD, "there is no such search", document.warm_start.search)])
    new = document.model_dump(mode="json")
    for part in ("task", "start"):
        if earlier.document[part] != new[part]:
            message = f"its {part} was another: {earlier.document[part]!r}"
            raise Invalid([Fault(_FIELD, message, earlier.id)])
    objectives = objectives_in(earlier.document)
    if objectives != objectives_in(new):
        message = f"its objective was another: {objectives!r}"
        raise Invalid([Fault(_FIELD, message, earlier.id)])


def cannot_be_compared(session: Session, search: Search) -> str | None:
    """Return why a planned search cannot begin with the earlier one after all, or None."""
    earlier = _earlier(session, search)
    if earlier is None:
        return None
    if earlier.fingerprint != search.fingerprint:
        return f"{_FIELD}: the network of search {earlier.id} had other sites"
    if earlier.pinned["epochs"] != search.pinned["epochs"]:
        return f"{_FIELD}: search {earlier.id} trained for {earlier.pinned['epochs']} epochs"
    return None


def take_over(turn: Turn, space: Space) -> None:
    """Enter what the earlier search has found. Called once the baselines are lined up."""
    session, search = turn.session, turn.search
    earlier = _earlier(session, search)
    if earlier is None:
        return
    results = trials.results_by_key(session, earlier.id)
    for trial in _worth_taking(session, earlier):
        candidate = read_candidate(trial.candidate)
        params = space.params_of(candidate)
        key = space.key(candidate)
        if params is None or trials.first_with_key(session, search.id, key) is not None:
            continue
        mean = means(results.get(trial.key or "", ()))
        taken = enter_trial(
            turn,
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
        search.tells += 1
        taken.told = search.tells


def _earlier(session: Session, search: Search) -> Search | None:
    wanted = search.document.get("warm_start")
    return None if wanted is None else session.get(Search, wanted["search"])


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
