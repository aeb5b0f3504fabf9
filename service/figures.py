"""Plotly figures of a search, as plain data: the page and notebooks draw them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service import results
from service.store import trials
from service.store.models import Search, Trial, TrialState

MAX_POINTS = 1000

Figure = dict[str, Any]
Point = TypeVar("Point")


def history(session: Session, search: Search) -> Figure:
    """Draw every value in the order of the trials, the best so far, and the luck line."""
    maximize = search.document["objective"]["direction"] == "maximize"
    rows = _with_values(session, search)
    completed = [row for row in rows if row.state == TrialState.COMPLETED]
    candidates = [row for row in completed if row.label != trials.ORIGINAL]
    proposed = [row for row in candidates if row.kind == TrialKind.PROPOSED]
    return {
        "data": [
            _dots("original", [row for row in completed if row.label == trials.ORIGINAL]),
            _dots("uniform", [row for row in candidates if row.kind == TrialKind.BASELINE]),
            _dots("candidates", proposed),
            _dots("stopped early", [row for row in rows if row.state == TrialState.STOPPED]),
            _best_so_far(candidates, max if maximize else min),
            _luck_line(results.original_of(session, search), proposed, maximize=maximize),
        ],
        "layout": {
            "xaxis": {"title": {"text": "trial"}},
            "yaxis": {"title": {"text": search.document["objective"]["metric"]}},
            "hovermode": "closest",
        },
    }


FIGURES: Mapping[str, Callable[[Session, Search], Figure]] = {"history": history}


def _with_values(session: Session, search: Search) -> Sequence[Any]:
    return session.execute(
        select(Trial.number, Trial.kind, Trial.label, Trial.state, Trial.value)
        .where(
            Trial.search_id == search.id,
            Trial.value.is_not(None),
            Trial.state.in_((TrialState.COMPLETED, TrialState.STOPPED)),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
    ).all()


def _sampled(points: Sequence[Point]) -> Sequence[Point]:
    """Return at most `MAX_POINTS` points, evenly spread, the last among them."""
    step = -(-len(points) // MAX_POINTS)
    return points if step <= 1 else points[::-1][::step][::-1]


def _dots(name: str, rows: Sequence[Any]) -> Figure:
    drawn = _sampled(rows)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row.number for row in drawn],
        "y": [row.value for row in drawn],
        "text": [row.label or "" for row in drawn],
    }


def _best_so_far(rows: Sequence[Any], better: Callable[..., float]) -> Figure:
    best = accumulate((row.value for row in rows), better)
    points = [(row.number, value) for row, value in zip(rows, best, strict=True)]
    return _line("best so far", points, shape="hv")


def _luck_line(original: results.Original, proposed: Sequence[Any], *, maximize: bool) -> Figure:
    """Draw what the best of as many networks equal to the original would show by luck."""
    lucky = (results.luck(original, n, maximize=maximize) for n in range(1, len(proposed) + 1))
    drawn = zip((row.number for row in proposed), lucky, strict=True)
    points = [(number, value) for number, value in drawn if value is not None]
    return _line("best of equal networks, by luck", points, dash="dash")


def _line(name: str, points: Sequence[tuple[int, float]], **line: str) -> Figure:
    drawn = _sampled(points)
    return {
        "type": "scatter",
        "mode": "lines",
        "line": line,
        "name": name,
        "x": [number for number, _ in drawn],
        "y": [value for _, value in drawn],
    }
