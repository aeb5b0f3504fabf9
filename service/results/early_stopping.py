"""How often early stopping was wrong, by the stopped trials that ran on to their end."""

from dataclasses import dataclass
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.results.objectives import maximizes
from service.schemas.states import TrialState
from service.store.models import Search, Trial
from service.store.tallies import Group, Tally
from service.study.seeds import seed_of


@dataclass(frozen=True, slots=True)
class EarlyStops:
    """How many trials the pruner stopped, and how good those were that ran on.

    Attributes:
        stopped: Trials that it stopped, or would have stopped if they had not run on.
        ran_on: Those of them that ran on and completed.
        beat_median: Those that were better than the median of the trials that it did not stop.
        beat_best: Those that were better than the best of these.
    """

    stopped: int
    ran_on: int
    beat_median: int
    beat_best: int


def runs_on(search: Search, trial: Trial) -> bool:
    """Whether a trial that the pruner stops runs on, for an unbiased sample of its decisions."""
    # By the number and the seed alone, so that a retry or a rebuilt study decides the same.
    share: float = search.document["pruner"].get("run_on", 0.0)
    return seed_of(search.document["sampler"]["seed"], "run on", trial.number or 0) < share * 2**31


def early_stops(session: Session, search: Search, tally: Tally) -> EarlyStops:
    """Return how often the pruner stopped a trial, and how often that was wrong."""
    stopped = tally.count(lambda group: _is_proposal(group) and group.stopped_early)
    ran_on = tally.count(
        lambda group: (
            _is_proposal(group) and group.stopped_early and group.state == TrialState.COMPLETED
        )
    )
    if not ran_on:
        return EarlyStops(stopped, 0, 0, 0)
    rows = session.execute(
        select(Trial.value, Trial.stopped_at).where(
            Trial.search_id == search.id,
            Trial.kind == TrialKind.PROPOSED,
            Trial.repeat_of.is_(None),
            Trial.state == TrialState.COMPLETED,
            Trial.value.is_not(None),
        )
    ).all()
    sign = 1 if maximizes(search) else -1
    ran_to_end = [sign * row.value for row in rows if row.stopped_at is not None]
    not_stopped = [sign * row.value for row in rows if row.stopped_at is None]
    return EarlyStops(
        stopped=stopped,
        ran_on=len(ran_to_end),
        beat_median=sum(value > median(not_stopped) for value in ran_to_end) if not_stopped else 0,
        beat_best=sum(value > max(not_stopped) for value in ran_to_end) if not_stopped else 0,
    )


def _is_proposal(group: Group) -> bool:
    return group.kind == TrialKind.PROPOSED and not group.is_repeat
