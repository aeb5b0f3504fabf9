"""The history: every value in the order of the trials, the best so far, and the luck line."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import mean
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import metric_in
from service.insight.figure import Figure, downsample, figure, scatter
from service.results import ranking
from service.results.luck_line import luck
from service.results.objectives import maximizes
from service.schemas.labels import metric_label
from service.schemas.states import TrialState
from service.store import trials
from service.store.models import Search, Trial

_DOTS = 700
_LUCK_POINTS = 100


def history(session: Session, search: Search) -> Figure:
    """Draw the values of trials; of too many, every n-th and each that was the best so far.

    The best so far is the mean of a candidate over the trainings that it has had by then. So the
    line can get worse: when a leader is trained again and does worse than before.
    """
    maximize = maximizes(search)
    rows = _with_values(session, search)
    candidates = [
        row for row in rows if row.state == TrialState.COMPLETED and row.label != trials.ORIGINAL
    ]
    proposed = ranking.numbers_of_proposals(session, search)
    steps = list(_steps(candidates, maximize=maximize))[-_LUCK_POINTS:]
    shown = {row.number for row in downsample(rows, _DOTS)} | {number for number, _ in steps}
    drawn = [row for row in rows if row.number in shown]
    original = ranking.original_of(session, search)
    return figure(
        [
            *(_dots(name, [row for row in drawn if _group(row) == name]) for name in _GROUPS),
            _best_so_far(steps, candidates),
            _luck_line(original, proposed, maximize=maximize),
        ],
        x="trial",
        y=metric_label(metric_in(search.document)),
    )


_GROUPS = ("original", "uniform", "candidates", "stopped early")


_READ = (Trial.number, Trial.kind, Trial.label, Trial.state, Trial.value, Trial.key)


def _group(row: Any) -> str:
    if row.state == TrialState.STOPPED:
        return "stopped early"
    if row.label == trials.ORIGINAL:
        return "original"
    return "uniform" if row.kind == TrialKind.BASELINE else "candidates"


def _with_values(session: Session, search: Search) -> Sequence[Any]:
    return session.execute(
        select(*_READ)
        .where(
            Trial.search_id == search.id,
            Trial.value.is_not(None),
            Trial.state.in_((TrialState.COMPLETED, TrialState.STOPPED)),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
    ).all()


def _steps(rows: Sequence[Any], *, maximize: bool) -> Iterator[tuple[int, float]]:
    """Yield each trial that changed the best mean of a candidate, with that mean."""
    values: dict[str, list[float]] = {}
    means: dict[str, float] = {}
    best: float | None = None
    leader, choose = "", max if maximize else min
    for row in rows:
        values.setdefault(row.key, []).append(row.value)
        means[row.key] = mean(values[row.key])
        # Another candidate can only lead now if this value is its own or the leader's; only
        # a changed leader makes a comparison with all of them necessary.
        rivals: Iterable[str] = means if leader in ("", row.key) else (leader, row.key)
        leader = choose(rivals, key=means.__getitem__)
        if means[leader] != best:
            best = means[leader]
            yield row.number, best


def _dots(name: str, rows: Sequence[Any]) -> Figure:
    points = [(row.number, row.value) for row in rows]
    return scatter(name, points, "markers", text=[row.label or "" for row in rows])


def _best_so_far(steps: Sequence[tuple[int, float]], rows: Sequence[Any]) -> Figure:
    points = list(steps)
    if points:
        points.append((rows[-1].number, points[-1][1]))
    return scatter("best so far", points, "lines", line={"shape": "hv"})


def _luck_line(
    original: ranking.OriginalResults, proposed: Sequence[int], *, maximize: bool
) -> Figure:
    """Draw the value that the best of n networks equal to the original would have by luck."""
    points = [
        (number, lucky)
        for n, number in downsample(list(enumerate(proposed, 1)), _LUCK_POINTS)
        if (lucky := luck(original, n, maximize=maximize)) is not None
    ]
    return scatter("best of equal networks, by luck", points, "lines", line={"dash": "dash"})
