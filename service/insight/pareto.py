"""The Pareto front: one objective against another, or against the time of a training step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import objectives_in
from service.insight.figure import Figure, downsample, figure, scatter
from service.schemas.labels import metric_label, trial_name
from service.schemas.states import TrialState
from service.store.models import Search, Trial
from service.study.pareto import pareto_ranks

_FRONT, _OTHERS = 200, 800


@dataclass(frozen=True, slots=True)
class Point:
    """A completed network in the figure, with the name of its trial."""

    x: float
    y: float
    text: str


def pareto(session: Session, search: Search) -> Figure:
    """Draw the completed networks, and as a trace of its own the Pareto front.

    The y axis is the first objective. The x axis is the second; if there is one only, the time of
    a training step in ms.
    """
    objectives = objectives_in(search.document)
    maximize = [objective["direction"] == "maximize" for objective in objectives]
    x_label = metric_label(objectives[1]["metric"]) if len(objectives) > 1 else _TIME
    points = _points(session, search, several=len(objectives) > 1)
    fronts = pareto_ranks(
        [(point.y, point.x) for point in points],
        (maximize[0], maximize[1] if len(objectives) > 1 else False),
    )
    front = [point for point, rank in zip(points, fronts, strict=True) if rank == 0]
    others = [point for point, rank in zip(points, fronts, strict=True) if rank > 0]
    return figure(
        [
            _dots("other networks", downsample(others, _OTHERS)),
            _dots("not beaten in both", downsample(front, _FRONT)),
        ],
        x=x_label,
        y=metric_label(objectives[0]["metric"]),
    )


_TIME = "time of a training step in ms"


def _points(session: Session, search: Search, *, several: bool) -> list[Point]:
    x: Any = Trial.values if several else Trial.step_seconds
    rows = session.execute(
        select(Trial.number, Trial.label, Trial.value, x)
        .where(
            Trial.search_id == search.id,
            Trial.state == TrialState.COMPLETED,
            Trial.value.is_not(None),
            x.is_not(None),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
    )
    return [
        Point(given[1] if several else given * 1000, value, trial_name(number, label))
        for number, label, value, given in rows
    ]


def _dots(name: str, points: Sequence[Point]) -> Figure:
    found = sorted(points, key=lambda point: point.x)
    text = [point.text for point in found]
    return scatter(name, [(point.x, point.y) for point in found], "markers", text=text)
