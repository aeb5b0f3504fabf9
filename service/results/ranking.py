"""What trials came to: the candidates in order, the original over its seeds, and luck."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from search_space.contract import TrialKind
from search_space.search import objectives_in
from service.results.objectives import means
from service.schemas.states import TrialState
from service.store import trials
from service.store.models import Search, Trial
from service.study.pareto import ranks

MIN_SEEDS_FOR_LUCK = 3

MOST_RANKED = 1000
"""What lies below so many in the ranking is no candidate for anything."""

CANDIDATES = (TrialKind.BASELINE, TrialKind.PROPOSED, TrialKind.MANUAL, TrialKind.EARLIER)


@dataclass(frozen=True, slots=True)
class OriginalResults:
    """The network as it came, over its seeds."""

    values: tuple[float, ...]
    step_seconds: float | None

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; unknown with one."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in the ranking: its first completed trial, and its mean over `seeds`."""

    trial: Trial
    value: float
    seeds: int


def original_of(session: Session, search: Search) -> OriginalResults:
    rows = trials.originals(session, search.id)
    times = [row.step_seconds for row in rows if row.step_seconds is not None]
    return OriginalResults(trials.values_of(rows).values, min(times, default=None))


def luck(original: OriginalResults, count: int, *, maximize: bool) -> float | None:
    """Return what the best of `count` networks equal to the original would show by luck.

    The expected extreme of n normal values (Blom): mean + s * quantile((n - 0.375)/(n + 0.25)).
    None below three seeds, where the spread is not known well enough to speak of.
    """
    if len(original.values) < MIN_SEEDS_FOR_LUCK or count < 1:
        return None
    middle, spread = original.mean, original.spread
    assert middle is not None
    assert spread is not None
    reach = spread * NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
    return middle + reach if maximize else middle - reach


_IS_PROPOSAL = (
    Trial.kind.in_((TrialKind.PROPOSED, TrialKind.EARLIER)),
    Trial.state == TrialState.COMPLETED,
    Trial.repeat_of.is_(None),
    Trial.replicate_of.is_(None),
)


def completed_proposals(session: Session, search: Search) -> int:
    """Return how many networks the luck line stands for."""
    return trials.count(session, search.id, *_IS_PROPOSAL)


def numbers_of_proposals(session: Session, search: Search) -> Sequence[int]:
    """Return the numbers of the trials that `completed_proposals` counts."""
    found = session.scalars(
        select(Trial.number)
        .where(Trial.search_id == search.id, Trial.number.is_not(None), *_IS_PROPOSAL)
        .order_by(Trial.number)
    )
    return [number for number in found if number is not None]


def spread(session: Session, search: Search, count: int) -> list[Ranked]:
    """Return candidates at even distances in the ranking, from the best to the worst."""
    last = len(ranked(session, search, limit=MOST_RANKED)) - 1
    places = {round(step * last / max(count - 1, 1)) for step in range(count)}
    return [
        one for place in sorted(places) for one in ranked(session, search, limit=1, offset=place)
    ]


def best_trial(session: Session, search: Search) -> Ranked | None:
    """Return the best completed trial of what may be chosen: the original is not."""
    best = ranked(session, search, limit=1)
    return best[0] if best else None


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

    A candidate stands in the ranking once, with the mean over its trainings.
    """
    mean = func.avg(Trial.value)
    first = aliased(Trial)
    is_result = (
        Trial.search_id == search.id,
        Trial.state == TrialState.COMPLETED,
        Trial.repeat_of.is_(None),
        Trial.value.is_not(None),
        Trial.kind != TrialKind.CONFIRMATION,
    )
    found = (
        select(func.min(Trial.number).label("number"), mean.label("mean"), func.count().label("n"))
        .where(*is_result)
        .group_by(Trial.key)
        .subquery()
    )
    rows = session.execute(
        select(first, found.c.mean, found.c.n)
        .join(found, first.number == found.c.number)
        .where(
            first.search_id == search.id,
            first.kind.in_(kinds),
            (first.label != trials.ORIGINAL) | first.label.is_(None),
        )
        .order_by(found.c.mean.desc() if maximizes(search) else found.c.mean.asc(), first.number)
        .limit(limit)
        .offset(offset)
    )
    return [Ranked(trial, value, seeds) for trial, value, seeds in rows]


def front(session: Session, search: Search) -> list[tuple[Trial, tuple[float, ...]]]:
    """Return the networks that no other beats in all objectives, by the first of these.

    Each comes with its values, which are means over its trainings. The original is one of them
    where nothing beats it. Empty with a single objective.
    """
    objectives = objectives_in(search.document)
    if len(objectives) == 1:
        return []
    found = trials.results_by_key(session, search.id)
    keys, points = list(found), [means(found[key]) for key in found]
    maximize = [objective["direction"] == "maximize" for objective in objectives]
    best = [place for place, rank in enumerate(ranks(points, maximize, best=1)) if rank == 0]
    best.sort(key=lambda place: points[place][0], reverse=maximize[0])
    return [(_first_completed(session, search, keys[place]), points[place]) for place in best]


def maximizes(search: Search) -> bool:
    """Whether the first objective is to be large."""
    return bool(objectives_in(search.document)[0]["direction"] == "maximize")


def _first_completed(session: Session, search: Search, key: str) -> Trial:
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search.id,
            Trial.key == key,
            Trial.state == TrialState.COMPLETED,
            Trial.kind != TrialKind.CONFIRMATION,
            Trial.repeat_of.is_(None),
        )
        .order_by(Trial.number)
        .limit(1)
    ).one()
