"""What a search has found so far, and what may be said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.schemas import (
    Best,
    BestAnswer,
    OriginalAnswer,
    Progress,
    RankedAnswer,
    SearchAnswer,
)
from service.store import searches, trials
from service.store.models import FINISHED, Search, SearchState, Trial, TrialState

MIN_SEEDS_FOR_LUCK = 3
RANKED = 100
"""The ranking lists at most this many candidates."""


@dataclass(frozen=True, slots=True)
class Original:
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


def original_of(session: Session, search: Search) -> Original:
    rows = trials.originals(session, search.id)
    times = [row.step_seconds for row in rows if row.step_seconds is not None]
    return Original(trials.values_of(rows).values, min(times, default=None))


def luck(original: Original, count: int, *, maximize: bool) -> float | None:
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


def completed_proposals(session: Session, search: Search) -> int:
    """Return how many networks the luck line stands for."""
    return trials.count(
        session,
        search.id,
        Trial.kind == TrialKind.PROPOSED,
        Trial.state == TrialState.COMPLETED,
        Trial.repeat_of.is_(None),
    )


def best_trial(session: Session, search: Search) -> Trial | None:
    """Return the best completed trial of what may be chosen: the original is not."""
    ranked = _ranked(session, search, limit=1)
    return ranked[0] if ranked else None


def best(session: Session, search: Search) -> BestAnswer:
    """Rank the original, the uniform networks and the candidates."""
    original, maximize = original_of(session, search), _maximizes(search)
    rows, equals = _ranked(session, search, limit=RANKED), completed_proposals(session, search)
    return BestAnswer(
        status="not_confirmed",
        claim="not confirmed yet: single trainings on validation data, chosen among many",
        metric=search.document["objective"]["metric"],
        direction=search.document["objective"]["direction"],
        original=OriginalAnswer(
            mean=original.mean,
            spread=original.spread,
            values=list(original.values),
            step_seconds=original.step_seconds,
        ),
        luck=luck(original, equals, maximize=maximize),
        luck_of=equals,
        ranking=[
            _ranked_answer(rank, row, original, maximize=maximize)
            for rank, row in enumerate(rows, 1)
        ],
    )


def answer(session: Session, search: Search, counts: dict[str, int]) -> SearchAnswer:
    """Return a search with what is derived from its trials."""
    top, equals = best_trial(session, search), completed_proposals(session, search)
    original = original_of(session, search)
    derived = ("counts", "progress", "best", "luck", "luck_of")
    columns = {
        name: getattr(search, name) for name in SearchAnswer.model_fields if name not in derived
    }
    return SearchAnswer(
        **columns,
        counts=counts,
        progress=_progress(session, search, counts),
        best=None if top is None else _best(top),
        luck=luck(original, equals, maximize=_maximizes(search)),
        luck_of=equals,
    )


def answers(session: Session, found: Sequence[Search]) -> list[SearchAnswer]:
    counts = searches.counts(session, [search.id for search in found])
    return [answer(session, search, counts[search.id]) for search in found]


def _maximizes(search: Search) -> bool:
    return bool(search.document["objective"]["direction"] == "maximize")


def _ranked(session: Session, search: Search, *, limit: int) -> Sequence[Trial]:
    order = Trial.value.desc() if _maximizes(search) else Trial.value.asc()
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search.id,
            Trial.state == TrialState.COMPLETED,
            Trial.repeat_of.is_(None),
            Trial.value.is_not(None),
            (Trial.label != trials.ORIGINAL) | Trial.label.is_(None),
        )
        .order_by(order, Trial.number)
        .limit(limit)
    ).all()


def _ranked_answer(rank: int, row: Trial, original: Original, *, maximize: bool) -> RankedAnswer:
    assert row.value is not None
    assert row.number is not None
    gain = None if original.mean is None else row.value - original.mean
    ratio = None
    if row.step_seconds is not None and original.step_seconds:
        ratio = row.step_seconds / original.step_seconds
    return RankedAnswer(
        rank=rank,
        trial=row.id,
        number=row.number,
        kind=row.kind,
        label=row.label,
        value=row.value,
        gain=gain if gain is None or maximize else -gain,
        step_seconds=row.step_seconds,
        step_ratio=ratio,
        candidate=row.candidate or {},
    )


def _best(trial: Trial) -> Best:
    assert trial.value is not None
    assert trial.number is not None
    return Best(trial=trial.id, number=trial.number, label=trial.label, value=trial.value)


def _progress(session: Session, search: Search, counts: dict[str, int]) -> Progress:
    baselines = trials.count(session, search.id, Trial.kind == TrialKind.BASELINE)
    if search.plan is None:
        document: dict[str, Any] = search.document
        uniform = len(document["choices"]) if document["baselines"]["uniform"] else 0
        baselines = document["baselines"]["original_seeds"] + uniform
    finished = trials.count(
        session,
        search.id,
        Trial.number.is_not(None),
        Trial.repeat_of.is_(None),
        Trial.state.in_(FINISHED),
    )
    total = baselines + search.budget
    if search.state in (SearchState.COMPLETED, SearchState.CANCELLED, SearchState.FAILED):
        total = finished
    return Progress(
        finished=finished,
        total=total,
        running=counts.get(TrialState.RUNNING.value, 0),
        eta_seconds=_eta(session, search, finished, total),
    )


def _eta(session: Session, search: Search, finished: int, total: int) -> float | None:
    """Return how long the rest will take at the pace so far, pauses included in the pace."""
    if search.state != SearchState.RUNNING or search.started_at is None or finished == 0:
        return None
    last = session.scalar(select(func.max(Trial.ended_at)).where(Trial.search_id == search.id))
    elapsed = 0.0 if last is None else last - search.started_at
    rest = elapsed / finished * (total - finished)
    return rest if math.isfinite(rest) else None
