"""The timeline: what each slot of each worker did, and when."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind
from service.insight.figure import MAX_POINTS, Figure, figure
from service.store.models import Attempt, Search, Trial
from service.store.searches import clock

_RUNNING = "running"


def timeline(session: Session, search: Search) -> Figure:
    """Draw the latest attempts as bars; times are milliseconds since the epoch, in UTC."""
    rows, now = _attempts(session, search), clock(session)
    slots = sorted({_slot(row) for row in rows})
    return figure(
        [
            trace
            for name in (*(kind.value for kind in OutcomeKind), _RUNNING)
            if (trace := _bars(name, [row for row in rows if _outcome(row) == name], now))["y"]
        ],
        x="time",
        y="worker and slot",
        barmode="overlay",
        xaxis={"type": "date"},
        yaxis={"type": "category", "categoryorder": "array", "categoryarray": slots[::-1]},
    )


def _attempts(session: Session, search: Search) -> Sequence[Any]:
    return session.execute(
        select(
            Attempt.worker_id,
            Attempt.slot,
            Attempt.started_at,
            Attempt.ended_at,
            Attempt.outcome,
            Trial.number,
            Trial.kind,
        )
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.search_id == search.id)
        .order_by(Attempt.started_at.desc())
        .limit(MAX_POINTS)
    ).all()


def _outcome(row: Any) -> str:
    return _RUNNING if row.outcome is None else str(row.outcome.value)


def _slot(row: Any) -> str:
    return f"{row.worker_id} · {row.slot}"


def _bars(name: str, rows: Sequence[Any], now: float) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "base": [round(row.started_at * 1000) for row in rows],
        "x": [round(((row.ended_at or now) - row.started_at) * 1000) for row in rows],
        "y": [_slot(row) for row in rows],
        "text": [row.kind if row.number is None else f"trial {row.number}" for row in rows],
        "textposition": "none",
    }
