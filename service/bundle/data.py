"""What a bundle says of a search, read from the rows in one transaction."""

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
class TrialCounts:
    """How many trials, attempts and looks at test data a search has had.

    Attributes:
        by_kind: Trials by kind and state, without repeats; keys like `proposed`, `completed`. A
            leader trained on another seed has the kind `REPLICATE`. A trial that breaks a limit,
            and so failed before its first step, has the state `INFEASIBLE`.
        repeats: Proposals of a network that was trained before; they cost nothing.
        failures: Attempts that failed, by class.
        confirming: Trainings of the confirmation in force that began and ended, by label.
        test_looks: Trainings that were evaluated on test data, of all confirmations.
    """

    by_kind: Mapping[tuple[str, str], int]
    repeats: int
    failures: Mapping[str, int]
    confirming: Mapping[str, int]
    test_looks: int

    def count(self, kind: str, *states: str) -> int:
        """Return how many trials of a kind are in one of the states."""
        return sum(self.by_kind.get((kind, state), 0) for state in states)

    def trained(self, kind: str) -> int:
        """Return how many trials of a kind were trained, whatever the outcome."""
        return self.count(kind, *TRAINED)


@dataclass(frozen=True, slots=True)
class BundleData:
    """The result of a search, and how it was found. Hours as `results.budget` counts them.

    Attributes:
        document: As submitted, with the changes that were made since.
        samples: Test results by network, from the confirmation; empty without one.
        history: The Plotly figure of all values in order.
        trial: The one whose weights are in the bundle; None for the original network.
        remarks: The remarks on that trial, line by line.
    """

    name: str
    id: str
    document: Mapping[str, Any]
    pinned: Mapping[str, Any]
    config: ActivationConfig
    best: BestAnswer
    counts: TrialCounts
    hours: budget.Hours
    samples: Mapping[str, Sample]
    history: Mapping[str, Any]
    trial: str | None
    remarks: Sequence[str]

    @property
    def is_paired(self) -> bool:
        """Whether the networks of the confirmation shared their seeds."""
        return any(sample.seeds for sample in self.samples.values())

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


def collect(session: Session, search: Search, *, unconfirmed: bool) -> BundleData:
    """Return what a bundle says of a search.

    Raises:
        NotReady: As `best_config.choose`.
    """
    chosen = best_config.choose(session, search, unconfirmed=unconfirmed)
    return BundleData(
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


def _counts(session: Session, search: Search) -> TrialCounts:
    of_search = Trial.search_id == search.id
    is_replicate = Trial.replicate_of.is_not(None)
    columns = (Trial.kind, Trial.state, is_replicate, Trial.failure)
    by_kind: Counter[tuple[str, str]] = Counter()
    for kind, state, replicated, failure, count in session.execute(
        select(*columns, func.count())
        .where(of_search, Trial.repeat_of.is_(None), Trial.number.is_not(None))
        .group_by(*columns)
    ):
        is_infeasible = failure == FailureClass.INFEASIBLE
        key = REPLICATE if replicated else kind, INFEASIBLE if is_infeasible else state
        by_kind[key] += count
    failures = session.execute(
        select(Attempt.failure, func.count())
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(of_search, Attempt.failure.is_not(None))
        .group_by(Attempt.failure)
        .order_by(Attempt.failure)
    )
    confirming = Counter(
        trial.label or ""
        for trial in confirmation.load(session, search).trials
        if trial.state in TRAINED
    )
    tests = session.scalars(select(Trial.test).where(of_search, Trial.test.is_not(None)))
    repeats = select(func.count()).where(of_search, Trial.repeat_of.is_not(None))
    return TrialCounts(
        by_kind=dict(sorted(by_kind.items())),
        repeats=session.scalar(repeats) or 0,
        failures={str(failure): count for failure, count in failures},
        confirming=confirming,
        test_looks=sum(test is not None for test in tests),
    )
