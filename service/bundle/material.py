"""What a bundle tells, taken from the rows at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind, test_metric
from search_space.search import metric_in
from search_space.spec import ActivationConfig
from service import configs, confirmation, ranking, spending
from service.documents import in_force
from service.insight.history import history
from service.schemas.results import BestAnswer
from service.store.models import Attempt, Search, Trial, TrialState
from service.verdict import Sample


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of what.

    Attributes:
        by_kind: Trials by kind and state, repeats left out; keys as `proposed`, `completed`.
        repeats: Proposals that were networks trained before, and cost nothing.
        failures: Attempts that failed, by class.
        test_looks: Trainings that were evaluated on test data.
    """

    by_kind: Mapping[tuple[str, str], int]
    repeats: int
    failures: Mapping[str, int]
    test_looks: int

    def of(self, kind: TrialKind, *states: TrialState) -> int:
        """Return how many trials of a kind there are, in some states or in all."""
        return sum(
            count
            for (k, state), count in self.by_kind.items()
            if k == kind and (not states or state in states)
        )


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
    hours: spending.Hours
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
    chosen = configs.choose(session, search, unconfirmed=unconfirmed)
    return Material(
        name=search.name,
        id=search.id,
        document={**in_force(search), "name": search.name},
        pinned=search.pinned,
        config=chosen.config,
        best=ranking.best(session, search),
        counts=_counts(session, search),
        hours=spending.hours(session, search),
        samples=confirmation.samples(session, search),
        history=history(session, search),
        trial=None if chosen.trial is None else chosen.trial.id,
        remarks=[] if chosen.trial is None else (chosen.trial.reason or "").splitlines(),
    )


def _counts(session: Session, search: Search) -> Counts:
    mine = Trial.search_id == search.id
    rows = session.execute(
        select(Trial.kind, Trial.state, func.count())
        .where(mine, Trial.repeat_of.is_(None), Trial.number.is_not(None))
        .group_by(Trial.kind, Trial.state)
        .order_by(Trial.kind, Trial.state)
    )
    failures = session.execute(
        select(Attempt.failure, func.count())
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(mine, Attempt.failure.is_not(None))
        .group_by(Attempt.failure)
        .order_by(Attempt.failure)
    )
    tests = session.scalars(select(Trial.test).where(mine, Trial.test.is_not(None)))
    repeats = select(func.count()).where(mine, Trial.repeat_of.is_not(None))
    return Counts(
        by_kind={(kind, state): count for kind, state, count in rows},
        repeats=session.scalar(repeats) or 0,
        failures={str(failure): count for failure, count in failures},
        test_looks=sum(test is not None for test in tests),
    )
