"""Rungs: how many trials reached each epoch, and how many the pruner stopped there."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.insight.figure import Figure, figure, scatter
from service.schemas.states import TrialState
from service.store.models import Search, Trial


def rungs(session: Session, search: Search) -> Figure:
    """Draw how many proposed trials reached each epoch, and how many were stopped there."""
    rows = session.execute(
        select(Trial.step, Trial.state, func.count())
        .where(
            Trial.search_id == search.id,
            Trial.kind == TrialKind.PROPOSED,
            Trial.repeat_of.is_(None),
            Trial.step.is_not(None),
            Trial.step > 0,
        )
        .group_by(Trial.step, Trial.state)
        .order_by(Trial.step, Trial.state)
    ).all()
    counts = [(step, state, number) for step, state, number in rows if step is not None]
    steps = sorted({step for step, _, _ in counts})
    reached = [(at, sum(number for step, _, number in counts if step >= at)) for at in steps]
    stopped = [(step, number) for step, state, number in counts if state == TrialState.STOPPED]
    return figure(
        [
            scatter("reached this epoch", reached, "lines+markers", line={"shape": "vh"}),
            {
                "type": "bar",
                "name": "stopped here",
                "x": [at for at, _ in stopped],
                "y": [number for _, number in stopped],
            },
        ],
        x="epoch",
        y="trials",
        yaxis={"rangemode": "tozero"},
    )
