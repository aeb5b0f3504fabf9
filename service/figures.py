"""Plotly figures of a search, as plain data: the page and notebooks draw them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service import ranking
from service.store import trials
from service.store.models import Search, Trial, TrialState

MAX_POINTS = 1000

Figure = dict[str, Any]


def history(session: Session, search: Search) -> Figure:
    """Draw every value in the order of the trials, the best so far, and the luck line."""
    maximize = search.document["objective"]["direction"] == "maximize"
    rows = _sampled(_with_values(session, search))
    completed = [row for row in rows if row.state == TrialState.COMPLETED]
    candidates = [row for row in completed if row.label != trials.ORIGINAL]
    return {
        "data": [
            _dots("original", [row for row in completed if row.label == trials.ORIGINAL]),
            _dots("uniform", [row for row in candidates if row.kind == TrialKind.BASELINE]),
            _dots("candidates", [row for row in candidates if row.kind == TrialKind.PROPOSED]),
            _dots("stopped early", [row for row in rows if row.state == TrialState.STOPPED]),
            _best_so_far(candidates, max if maximize else min),
            _luck_line(session, search, candidates, maximize=maximize),
        ],
        "layout": {
            "xaxis": {"title": {"text": "trial"}},
            "yaxis": {"title": {"text": search.document["objective"]["metric"]}},
            "hovermode": "closest",
        },
    }


FIGURES: Mapping[str, Callable[[Session, Search], Figure]] = {"history": history}


def _with_values(session: Session, search: Search) -> Sequence[Trial]:
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search.id,
            Trial.value.is_not(None),
            Trial.state.in_((TrialState.COMPLETED, TrialState.STOPPED)),
            Trial.repeat_of.is_(None),
        )
        .order_by(Trial.number)
    ).all()


def _sampled(rows: Sequence[Trial]) -> Sequence[Trial]:
    """Return at most `MAX_POINTS` rows, evenly spread, the last among them."""
    step = -(-len(rows) // MAX_POINTS)
    return rows if step <= 1 else rows[::-1][::step][::-1]


def _dots(name: str, rows: Sequence[Trial]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [row.number for row in rows],
        "y": [row.value for row in rows],
        "text": [row.label or "" for row in rows],
    }


def _best_so_far(rows: Sequence[Trial], better: Callable[..., float]) -> dict[str, Any]:
    values = [row.value for row in rows if row.value is not None]
    return {
        "type": "scatter",
        "mode": "lines",
        "line": {"shape": "hv"},
        "name": "best so far",
        "x": [row.number for row in rows],
        "y": list(accumulate(values, better)),
    }


def _luck_line(
    session: Session, search: Search, candidates: Sequence[Trial], *, maximize: bool
) -> dict[str, Any]:
    """Draw what the best of as many networks equal to the original would show by luck."""
    original = ranking.original_of(session, search)
    proposed = [row for row in candidates if row.kind == TrialKind.PROPOSED]
    lucky = [ranking.luck(original, n, maximize=maximize) for n in range(1, len(proposed) + 1)]
    drawn = [(row.number, value) for row, value in zip(proposed, lucky, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines",
        "line": {"dash": "dash"},
        "name": "best of equal networks, by luck",
        "x": [number for number, value in drawn if value is not None],
        "y": [value for _, value in drawn if value is not None],
    }
