"""Reads and writes of searches. Every function takes the session of an open transaction."""

from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from search_space.contract import read_plan
from search_space.spec import SitePlan
from service.errors import NotFound
from service.store.cursor import Cursor
from service.store.database import now
from service.store.models import (
    LIVE_STATES,
    Bench,
    Search,
    Submission,
    Trial,
    TrialState,
    Wanted,
)


def get(session: Session, search_id: str) -> Search:
    """Return a search, or raise `NotFound`."""
    search = session.get(Search, search_id)
    if search is None:
        raise NotFound("search", search_id)
    return search


def lock(session: Session, search_id: str) -> Search:
    """Return a search with its row locked: what is counted under it stays true until commit."""
    search = session.get(Search, search_id, with_for_update=True)
    if search is None:
        raise NotFound("search", search_id)
    return search


def page(session: Session, *, after: Cursor | None, limit: int) -> Sequence[Search]:
    """Return searches, newest first."""
    query = select(Search).order_by(Search.created_at.desc(), Search.id.desc()).limit(limit)
    if after is not None:
        before = (Search.created_at < after.key) | (
            (Search.created_at == after.key) & (Search.id < after.id)
        )
        query = query.where(before)
    return session.scalars(query).all()


def live(session: Session) -> Sequence[Search]:
    """Return the searches that want work done, those with priority first, then the oldest."""
    return session.scalars(
        select(Search)
        .where(Search.state.in_(LIVE_STATES), Search.wanted == Wanted.RUN)
        .order_by(Search.priority.desc(), Search.created_at, Search.id)
    ).all()


def winding_down(session: Session) -> Sequence[str]:
    """Return the searches of which attempts may still run though no new one is wanted."""
    running = exists().where(Trial.search_id == Search.id, Trial.state == TrialState.RUNNING)
    return session.scalars(select(Search.id).where(Search.wanted != Wanted.RUN, running)).all()


def counts(session: Session, search_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the number of trials by state for each search; inspections do not count."""
    rows = session.execute(
        select(Trial.search_id, Trial.state, func.count())
        .where(Trial.search_id.in_(search_ids), Trial.number.is_not(None))
        .group_by(Trial.search_id, Trial.state)
    )
    found: dict[str, dict[str, int]] = {search_id: {} for search_id in search_ids}
    for search_id, state, count in rows:
        found[search_id][state.value] = count
    return found


def submission(session: Session, key: str) -> Submission | None:
    return session.get(Submission, key)


def known_plan(session: Session, task: dict[str, object]) -> SitePlan | None:
    """Return the plan of the newest search of the same task, if any was inspected."""
    rows = session.scalars(
        select(Search).where(Search.plan.is_not(None)).order_by(Search.created_at.desc()).limit(100)
    )
    return next((plan_of(row) for row in rows if row.document["task"] == task), None)


def plan_of(search: Search) -> SitePlan | None:
    return None if search.plan is None else read_plan(search.plan)


def benched(session: Session, search_id: str, boot_id: str) -> bool:
    return session.get(Bench, (search_id, boot_id)) is not None


def clock(session: Session) -> float:
    """Return the database's time."""
    return float(session.execute(select(now())).scalar_one())


def benched_for(session: Session, search_id: str, trial_id: str) -> bool:
    """Whether a worker was benched because its environment failed in this very trial."""
    bench = select(Bench.boot_id).where(Bench.search_id == search_id, Bench.trial_id == trial_id)
    return session.scalars(bench.limit(1)).first() is not None
