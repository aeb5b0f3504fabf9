"""What a bundle tells, taken from the rows at one moment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import FailureClass, test_metric
from search_space.search import metric_in
from search_space.spec import ActivationConfig
from service.insight.history import history
from service.results import best_config, budget, confirmation, summary
from service.results.verdict import Sample
from service.schemas.results import BestAnswer
from service.schemas.states import TrialState
from service.store.documents import in_force
from service.store.models import Attempt, Search, Trial

REPLICATE = "replicate"
INFEASIBLE = "infeasible"
TRAINED = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of what.

    Attributes:
        by_kind: Trials by kind and state, repeats left out; keys as `proposed`, `completed`. A
            leader on another seed is of the kind `REPLICATE`, and what failed before its first
            step, because it breaks a limit, in the state `INFEASIBLE`.
        repeats: Proposals that were networks trained before, and cost nothing.
        failures: Attempts that failed, by class.
        confirming: Trainings of the confirmation in force that began and ended, by label.
        test_looks: Trainings that were evaluated on test data, of all confirmations.
    """

    by_kind: Mapping[tuple[str, str], int]
    repeats: int
    failures: Mapping[str, int]
    confirming: Mapping[str, int]
    test_looks: int

    def of(self, kind: str, *states: str) -> int:
        """Return how many trials of a kind there are, in some states."""
        return sum(self.by_kind.get((kind, state), 0) for state in states)

    def trained(self, kind: str) -> int:
        """Return how many trials of a kind were trained, each to whatever end."""
        return self.of(kind, *TRAINED)


@dataclass(frozen=True, slots=True)
class Material:
    """A search's result, and how it came about. Hours as `spending` counts them.

    Attributes:
        document: As submitted, with what was changed since in force.
        samples: Test results by network, from the confirmation; empty without one.
        history: The Plotly figure of all values in order.
        trial: The one whose weights are in the bundle; None for the original network.
        remarks: What was remarked on that trial, line by line.
    """

    name: str
    id: str
    document: Mapping[str, Any]
    pinned: Mapping[str, Any]
    config: ActivationConfig
    best: BestAnswer
    counts: Counts
    hours: budget.Hours
    samples: Mapping[str, Sample]
    history: Mapping[str, Any]
    trial: str | None
    remarks: Sequence[str]

    @property
    def metric(self) -> str:
        return metric_in(self.document)

    @property
    def test_metric(self) -> str:
        return test_metric(self.metric)

    @property
    def activations(self) -> Sequence[str]:
        """The names of the activations of the config, each once."""
        return list(dict.fromkeys(spec.name for spec in self.config.candidate.sites.values()))


def gather(session: Session, search: Search, *, unconfirmed: bool) -> Material:
    """Return what a bundle of the search tells.

    Raises:
        NotReady: As `configs.choose`.
    """
    chosen = best_config.choose(session, search, unconfirmed=unconfirmed)
    return Material(
        name=search.name,
        id=search.id,
        document={**in_force(search), "name": search.name},
        pinned=search.pinned,
        config=chosen.config,
        best=summary.best(session, search),
        counts=_counts(session, search),
        hours=budget.hours(session, search),
        samples=confirmation.load(session, search).samples,
        history=history(session, search),
        trial=None if chosen.trial is None else chosen.trial.id,
        remarks=[] if chosen.trial is None else (chosen.trial.reason or "").splitlines(),
    )


def _counts(session: Session, search: Search) -> Counts:
    mine = Trial.search_id == search.id
    again = Trial.replicate_of.is_not(None)
    columns = (Trial.kind, Trial.state, again, Trial.failure)
    by_kind: Counter[tuple[str, str]] = Counter()
    for kind, state, is_again, failure, count in session.execute(
        select(*columns, func.count())
        .where(mine, Trial.repeat_of.is_(None), Trial.number.is_not(None))
        .group_by(*columns)
    ):
        breaks = failure == FailureClass.INFEASIBLE
        by_kind[REPLICATE if is_again else kind, INFEASIBLE if breaks else state] += count
    failures = session.execute(
        select(Attempt.failure, func.count())
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(mine, Attempt.failure.is_not(None))
        .group_by(Attempt.failure)
        .order_by(Attempt.failure)
    )
    confirming = Counter(
        trial.label or ""
        for trial in confirmation.load(session, search).trials
        if trial.state in TRAINED
    )
    tests = session.scalars(select(Trial.test).where(mine, Trial.test.is_not(None)))
    repeats = select(func.count()).where(mine, Trial.repeat_of.is_not(None))
    return Counts(
        by_kind=dict(sorted(by_kind.items())),
        repeats=session.scalar(repeats) or 0,
        failures={str(failure): count for failure, count in failures},
        confirming=confirming,
        test_looks=sum(test is not None for test in tests),
    )
