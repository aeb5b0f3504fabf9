"""Intermediate values: how values changed during training."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import metric_in
from service.insight.figure import Figure, downsample, figure, scatter
from service.results import ranking
from service.schemas.labels import metric_label
from service.schemas.states import TrialState
from service.store.models import Report, Search, Trial

_TRIALS = 50
_LEADERS = 5
_POINTS = 20
"""Of one curve: `_TRIALS` curves together have at most the points of a figure."""


def intermediate_values(session: Session, search: Search) -> Figure:
    """Draw the curves of the leaders, and of other trials spread evenly over the search."""
    leaders = {
        one.trial.id: one.trial.number for one in ranking.ranked(session, search, limit=_LEADERS)
    }
    others = downsample(
        [row for row in _reported(session, search) if row.id not in leaders],
        _TRIALS - len(leaders),
    )
    stopped = {row.id: row.number for row in others if row.state == TrialState.STOPPED}
    rest = {row.id: row.number for row in others if row.id not in stopped}
    curves = _curves(session, [*leaders, *stopped, *rest])
    return figure(
        [
            _trace("stopped early", stopped, curves),
            _trace("other trials", rest, curves),
            _trace("the best", leaders, curves),
        ],
        x="epoch",
        y=metric_label(metric_in(search.document)),
    )


def _reported(session: Session, search: Search) -> Sequence[Any]:
    return session.execute(
        select(Trial.id, Trial.number, Trial.state)
        .where(
            Trial.search_id == search.id,
            Trial.step.is_not(None),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
    ).all()


def _curves(session: Session, ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    rows = session.execute(
        select(Report.trial_id, Report.step, Report.value)
        .where(Report.trial_id.in_(ids))
        .order_by(Report.trial_id, Report.step, Report.attempt)
    )
    curves: dict[str, dict[int, float]] = {}
    for trial_id, step, value in rows:
        curves.setdefault(trial_id, {}).setdefault(step, value)
    return {trial_id: list(curve.items()) for trial_id, curve in curves.items()}


def _trace(
    name: str, numbers: dict[str, int | None], curves: dict[str, list[tuple[int, float]]]
) -> Figure:
    """Return the curves of several trials as one trace, with gaps between them."""
    points: list[tuple[int | None, float | None]] = []
    text: list[str] = []
    for trial_id, number in numbers.items():
        curve = downsample(curves.get(trial_id, []), _POINTS - 1)
        points += [*curve, (None, None)]
        text += [f"trial {number}"] * (len(curve) + 1)
    return scatter(name, points, "lines", text=text, connectgaps=False)
