"""The ranking of candidates, and the original's results over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from sqlalchemy import Select, Subquery, case, func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import objectives_in
from service.results.objectives import maximizes, means
from service.schemas.states import TrialState
from service.store import trials
from service.store.models import Search, Trial
from service.study.pareto import pareto_ranks

MOST_RANKED = 1000
"""Candidates below this rank are never chosen for anything."""

CANDIDATES = (TrialKind.BASELINE, TrialKind.PROPOSED, TrialKind.MANUAL, TrialKind.EARLIER)


@dataclass(frozen=True, slots=True)
class OriginalResults:
    """The results of the original network, one for each seed."""

    values: tuple[float, ...]
    step_seconds: float | None

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in the ranking: its first completed trial, and its mean over `seeds`."""

    trial: Trial
    value: float
    seeds: int


def original_of(session: Session, search: Search) -> OriginalResults:
    return original_of_each(session, [search])[search.id]


def original_of_each(session: Session, searches: Sequence[Search]) -> dict[str, OriginalResults]:
    """Return the results of the original of each search, by its id, with one statement."""
    found = trials.originals_each(session, [search.id for search in searches])
    return {search.id: _original(found.get(search.id, [])) for search in searches}


def _original(rows: Sequence[Trial]) -> OriginalResults:
    times = [row.step_seconds for row in rows if row.step_seconds is not None]
    return OriginalResults(trials.values_of(rows), min(times, default=None))


def numbers_of_proposals(session: Session, search: Search) -> Sequence[int]:
    """Return the numbers of the trials that the luck line counts (`Tally.completed_proposals`)."""
    found = session.scalars(
        select(Trial.number)
        .where(
            Trial.search_id == search.id,
            Trial.number.is_not(None),
            Trial.kind.in_((TrialKind.PROPOSED, TrialKind.EARLIER)),
            Trial.state == TrialState.COMPLETED,
            Trial.repeat_of.is_(None),
            Trial.replicate_of.is_(None),
        )
        .order_by(Trial.number)
    )
    return [number for number in found if number is not None]


def spread(session: Session, search: Search, count: int) -> list[Ranked]:
    """Return candidates at even distances in the ranking, the best and the worst among them."""
    found = ranked(session, search, limit=MOST_RANKED)
    gap = (len(found) - 1) / max(count - 1, 1)
    places = {round(step * gap) for step in range(count)} if found else set()
    return [found[place] for place in sorted(places)]


def best_trial(session: Session, search: Search) -> Ranked | None:
    """Return the best completed candidate; the original is none."""
    return best_of_each(session, [search]).get(search.id)


def best_of_each(session: Session, searches: Sequence[Search]) -> dict[str, Ranked]:
    """Return the `best_trial` of each search that has one, by its id, with one statement."""
    ranking = _ranking(searches, CANDIDATES)
    rows = _rows(session, select(ranking).where(ranking.c.rank == 1))
    return {one.trial.search_id: one for one in rows}


def best_uniform(session: Session, search: Search) -> Ranked | None:
    """Return the best completed uniform network."""
    best = ranked(session, search, limit=1, kinds=[TrialKind.BASELINE])
    return best[0] if best else None


def ranked(
    session: Session,
    search: Search,
    *,
    limit: int,
    offset: int = 0,
    kinds: Sequence[TrialKind] = CANDIDATES,
) -> Sequence[Ranked]:
    """Return the best completed candidates and uniform networks, the best first.

    Each candidate is ranked once, by the mean over its trainings.
    """
    ranking = _ranking([search], kinds)
    shown = ranking.c.rank.between(offset + 1, offset + limit)
    return _rows(session, select(ranking).where(shown))


def _ranking(searches: Sequence[Search], kinds: Sequence[TrialKind]) -> Subquery:
    """Return a query of (trial, mean, n, rank); ranks begin at 1 in each search."""
    ids = [search.id for search in searches]
    candidates = (
        select(
            Trial.search_id,
            func.min(Trial.number).label("number"),
            func.avg(Trial.value).label("mean"),
            # All trials of a candidate have the same.
            func.max(Trial.estimate).label("estimate"),
            func.count().label("n"),
        )
        .where(
            Trial.search_id.in_(ids),
            Trial.state == TrialState.COMPLETED,
            Trial.repeat_of.is_(None),
            Trial.value.is_not(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .group_by(Trial.search_id, Trial.key)
        .subquery()
    )
    maximizing = [search.id for search in searches if maximizes(search)]
    mean, judged = candidates.c.mean, func.coalesce(candidates.c.estimate, candidates.c.mean)
    # The smallest value gets rank 1, so values to maximize are negated.
    loss = case((candidates.c.search_id.in_(maximizing), -judged), else_=judged)
    rank = func.row_number().over(
        partition_by=candidates.c.search_id, order_by=(loss, candidates.c.number)
    )
    return (
        select(Trial.id.label("trial"), mean, candidates.c.n, rank.label("rank"))
        .join(
            candidates,
            (candidates.c.search_id == Trial.search_id) & (candidates.c.number == Trial.number),
        )
        .where(Trial.kind.in_(kinds), (Trial.label != trials.ORIGINAL) | Trial.label.is_(None))
        .subquery()
    )


def _rows(session: Session, ranking: Select[Any]) -> Sequence[Ranked]:
    chosen = ranking.subquery()
    rows = session.execute(
        select(Trial, chosen.c.mean, chosen.c.n)
        .join(chosen, chosen.c.trial == Trial.id)
        .order_by(chosen.c.rank)
    )
    return [Ranked(trial, value, seeds) for trial, value, seeds in rows]


def front(session: Session, search: Search) -> list[tuple[Trial, tuple[float, ...]]]:
    """Return the Pareto front with its values, sorted by the first objective.

    The values are means over the trainings of a candidate. The original can be on the front. Empty
    if there is only one objective.
    """
    objectives = objectives_in(search.document)
    if len(objectives) == 1:
        return []
    found = trials.results_by_key(session, search.id)
    keys, points = list(found), [means(found[key]) for key in found]
    maximize = [objective["direction"] == "maximize" for objective in objectives]
    ranks = pareto_ranks(points, maximize, best=1)
    best = [place for place, rank in enumerate(ranks) if rank == 0]
    best.sort(key=lambda place: points[place][0], reverse=maximize[0])
    first = _first_completed(session, search, [keys[place] for place in best])
    return [(first[keys[place]], points[place]) for place in best]


def _first_completed(session: Session, search: Search, keys: Sequence[str]) -> dict[str, Trial]:
    """Return the first completed trial of each candidate, by the candidate's key."""
    rows = session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search.id,
            Trial.key.in_(keys),
            Trial.state == TrialState.COMPLETED,
            Trial.kind != TrialKind.CONFIRMATION,
            Trial.repeat_of.is_(None),
        )
        .order_by(Trial.number.desc())
    )
    # The newest come first, so that the first trial of a candidate overwrites the others.
    return {trial.key or "": trial for trial in rows}
