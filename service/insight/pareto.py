"""What good values cost: the value against the time of a training step."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import metric_in
from service import results
from service.insight.figure import Figure, figure, readable, sampled, scatter
from service.store.models import Search, Trial, TrialState

_FRONT, _OTHERS = 200, 800


def pareto(session: Session, search: Search) -> Figure:
    """Draw the completed networks, and apart those that no other beats in both."""
    rows = session.execute(
        select(Trial.number, Trial.label, Trial.value, Trial.step_seconds)
        .where(
            Trial.search_id == search.id,
            Trial.state == TrialState.COMPLETED,
            Trial.value.is_not(None),
            Trial.step_seconds.is_not(None),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.step_seconds)
    ).all()
    front = _front(rows, maximize=results.maximizes(search))
    numbers = {row.number for row in front}
    others = sampled([row for row in rows if row.number not in numbers], _OTHERS)
    return figure(
        [_dots("other networks", others), _dots("not beaten in both", front[-_FRONT:])],
        x="time of a training step in ms",
        y=readable(metric_in(search.document)),
    )


def _front(rows: Sequence[Any], *, maximize: bool) -> list[Any]:
    """Return the rows better than every faster one; `rows` are in the order of their times."""
    front: list[Any] = []
    for row in rows:
        if not front or (row.value > front[-1].value if maximize else row.value < front[-1].value):
            front.append(row)
    return front


def _dots(name: str, rows: Sequence[Any]) -> Figure:
    points = [(row.step_seconds * 1000, row.value) for row in rows]
    text = [f"trial {row.number}" + (f", {row.label}" if row.label else "") for row in rows]
    return scatter(name, points, "markers", text=text)
