"""Reads of the reports of trials: their learning curves."""

from collections.abc import Collection, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from service.store.models import Report, Trial


def told(session: Session, search_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of the reports that the study has, by trial and step."""
    rows = session.execute(
        select(Report.trial_id, Report.step, Report.value)
        .join(Trial, Trial.id == Report.trial_id)
        .where(Trial.search_id == search_id, Report.told.is_not(None))
        .order_by(Report.trial_id, Report.step)
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for trial_id, step, value in rows:
        found.setdefault(trial_id, []).append((step, value))
    return found


def curve(session: Session, trial_id: str) -> Sequence[Report]:
    """Return the learning curve of a trial: the first report of each step."""
    rows = session.scalars(
        select(Report).where(Report.trial_id == trial_id).order_by(Report.step, Report.attempt)
    )
    first: dict[int, Report] = {}
    for report in rows:
        first.setdefault(report.step, report)
    return list(first.values())


def first_of_step(session: Session, trial_id: str, step: int) -> Report | None:
    """Return the report of a step by the first attempt that reached it."""
    return session.scalars(
        select(Report)
        .where(Report.trial_id == trial_id, Report.step == step)
        .order_by(Report.attempt)
        .limit(1)
    ).first()


def of_steps(
    session: Session, steps: Collection[tuple[str, int]]
) -> dict[tuple[str, int], list[Report]]:
    """Return the reports of some steps of trials, by trial and step, in the order of attempts."""
    found = session.scalars(
        select(Report)
        .where(tuple_(Report.trial_id, Report.step).in_(steps))
        .order_by(Report.attempt)
    )
    by_step: dict[tuple[str, int], list[Report]] = {}
    for report in found:
        by_step.setdefault((report.trial_id, report.step), []).append(report)
    return by_step
