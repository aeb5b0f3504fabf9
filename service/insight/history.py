"""Every value in the order of the trials, the best so far, and the luck line."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import metric_in
from service import results
from service.insight.figure import Figure, figure, readable, sampled, scatter
from service.store import trials
from service.store.models import Search, Trial, TrialState

_DOTS = 700
_LUCK_POINTS = 100


def history(session: Session, search: Search) -> Figure:
    """Draw the values of trials; where there are too many, every n-th and each that was best."""
    maximize = results.maximizes(search)
    rows = _with_values(session, search)
    candidates = [
        row for row in rows if row.state == TrialState.COMPLETED and row.label != trials.ORIGINAL
    ]
    proposed = [
        row for row in candidates if row.kind == TrialKind.PROPOSED and row.replicate_of is None
    ]
    records = list(_records(candidates, maximize=maximize))
    shown = {row.number for row in [*sampled(rows, _DOTS), *records[-_LUCK_POINTS:]]}
    drawn = [row for row in rows if row.number in shown]
    original = results.original_of(session, search)
    return figure(
        [
            *(_dots(name, [row for row in drawn if _group(row) == name]) for name in _GROUPS),
            _best_so_far(records, candidates),
            _luck_line(original, proposed, maximize=maximize),
        ],
        x="trial",
        y=readable(metric_in(search.document)),
    )


_GROUPS = ("original", "uniform", "candidates", "stopped early")


def _group(row: Any) -> str:
    if row.state == TrialState.STOPPED:
        return "stopped early"
    if row.label == trials.ORIGINAL:
        return "original"
    return "uniform" if row.kind == TrialKind.BASELINE else "candidates"


def _with_values(session: Session, search: Search) -> Sequence[Any]:
    return session.execute(
        select(Trial.number, Trial.kind, Trial.label, Trial.state, Trial.value, Trial.replicate_of)
        .where(
            Trial.search_id == search.id,
            Trial.value.is_not(None),
            Trial.state.in_((TrialState.COMPLETED, TrialState.STOPPED)),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
    ).all()


def _records(rows: Sequence[Any], *, maximize: bool) -> Iterator[Any]:
    """Yield the rows that were better than every one before them."""
    best = None
    for row in rows:
        if best is None or (row.value > best if maximize else row.value < best):
            best = row.value
            yield row


def _dots(name: str, rows: Sequence[Any]) -> Figure:
    points = [(row.number, row.value) for row in rows]
    return scatter(name, points, "markers", text=[row.label or "" for row in rows])


def _best_so_far(records: Sequence[Any], rows: Sequence[Any]) -> Figure:
    points = [(row.number, row.value) for row in records[-_LUCK_POINTS:]]
    if points:
        points.append((rows[-1].number, points[-1][1]))
    return scatter("best so far", points, "lines", line={"shape": "hv"})


def _luck_line(original: results.Original, proposed: Sequence[Any], *, maximize: bool) -> Figure:
    """Draw what the best of as many networks equal to the original would show by luck."""
    points = [
        (row.number, lucky)
        for n, row in sampled(list(enumerate(proposed, 1)), _LUCK_POINTS)
        if (lucky := results.luck(original, n, maximize=maximize)) is not None
    ]
    return scatter("best of equal networks, by luck", points, "lines", line={"dash": "dash"})
