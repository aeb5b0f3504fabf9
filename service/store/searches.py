"""Reads and writes of searches. Every function takes the session of an open transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import read_plan
from search_space.spec import SitePlan
from service.errors import NotFound
from service.schemas.states import LIVE_STATES, SearchState, TrialState, Wanted
from service.store.cursor import Cursor
from service.store.database import now
from service.store.models import Bench, Search, Submission, Trial


def get(session: Session, search_id: str) -> Search:
    """Return a search, or raise `NotFound`."""
    search = session.get(Search, search_id)
    if search is None or search.wanted == Wanted.DELETE:
        raise NotFound("search", search_id)
    return search


def exists(session: Session, search_id: str) -> bool:
    """Whether a search exists and is not being deleted."""
    found = select(Search.id).where(Search.id == search_id, Search.wanted != Wanted.DELETE)
    return session.scalar(found) is not None


def existing(session: Session, ids: Collection[str]) -> dict[str, Search]:
    """Return those of some searches that are not being deleted, by their ids."""
    found = select(Search).where(Search.id.in_(ids), Search.wanted != Wanted.DELETE)
    return {search.id: search for search in session.scalars(found)}


def lock(session: Session, search_id: str) -> Search:
    """Return a search with its row locked, or raise `NotFound`.

    All writes to a search lock its row, so a count of its trials stays true until the commit.
    """
    # SQLite has no row locks; there the write transaction itself excludes all others.
    search = session.get(Search, search_id, with_for_update=True)
    if search is None or search.wanted == Wanted.DELETE:
        raise NotFound("search", search_id)
    return search


Order = Literal["newest", "oldest", "name"]


def page(
    session: Session,
    *,
    after: Cursor | None,
    limit: int,
    order: Order = "newest",
    states: Sequence[SearchState] = (),
    named: str = "",
) -> Sequence[Search]:
    """Return searches that follow a cursor.

    Args:
        named: Only searches whose names contain this, in upper or lower case.
    """
    column = Search.name if order == "name" else Search.created_at
    query = select(Search).where(Search.wanted != Wanted.DELETE)
    if states:
        query = query.where(Search.state.in_(states))
    if named:
        query = query.where(Search.name.icontains(named, autoescape=True))
    if after is not None:
        key = _key_of(session, after, order)
        beyond = column < key if order == "newest" else column > key
        last = Search.id < after.id if order == "newest" else Search.id > after.id
        query = query.where(beyond | ((column == key) & last))
    sort = (column.desc(), Search.id.desc()) if order == "newest" else (column, Search.id)
    return session.scalars(query.order_by(*sort).limit(limit)).all()


def _key_of(session: Session, after: Cursor, order: Order) -> float | str:
    """Return the sort key of a page's end: the cursor has the time; a name is read by the id."""
    if order != "name":
        return after.key
    last = session.get(Search, after.id)
    return "" if last is None else last.name


def in_scheduling_order(session: Session) -> Sequence[Search]:
    """Return the searches that may hand out work, in the order in which slots ask them.

    Higher priority comes first. Searches of one priority share the slots in proportion to their
    `parallel`: first comes the one that uses the smallest part of it, then the oldest.
    """
    busy = (
        select(func.count())
        .where(Trial.search_id == Search.id, Trial.state == TrialState.RUNNING)
        .scalar_subquery()
    )
    return session.scalars(
        select(Search)
        .where(Search.state.in_(LIVE_STATES), Search.wanted == Wanted.RUN)
        .order_by(
            Search.priority.desc(), 1.0 * busy / Search.parallel, Search.created_at, Search.id
        )
    ).all()


def with_budget_of_hours(session: Session) -> Sequence[str]:
    """Return the running searches that have a budget of hours."""
    limited = Search.budget_hours.is_not(None) | Search.budget_gpu_hours.is_not(None)
    return session.scalars(
        select(Search.id).where(limited, Search.state == SearchState.RUNNING)
    ).all()


def marked(session: Session) -> Sequence[str]:
    """Return the searches that are to be deleted."""
    return session.scalars(select(Search.id).where(Search.wanted == Wanted.DELETE)).all()


def submission(session: Session, key: str) -> Submission | None:
    return session.get(Submission, key)


def of_same_task(session: Session, task: Mapping[str, Any], *, limit: int = 20) -> Sequence[Search]:
    """Return searches that have trained the same task, the newest first; epochs may differ."""
    # Compared in Python, since databases differ in how they compare JSON.
    wanted = {**task, "epochs": None}
    rows = session.scalars(
        select(Search)
        .where(Search.started_at.is_not(None), Search.wanted != Wanted.DELETE)
        .order_by(Search.created_at.desc())
        .limit(100)
    )
    return [row for row in rows if {**row.document["task"], "epochs": None} == wanted][:limit]


def known_plan(session: Session, task: dict[str, object]) -> SitePlan | None:
    """Return the plan of the newest search of the same task, or None if none was inspected."""
    rows = session.scalars(
        select(Search).where(Search.plan.is_not(None)).order_by(Search.created_at.desc()).limit(100)
    )
    return next((plan_of(row) for row in rows if row.document["task"] == task), None)


def plan_of(search: Search) -> SitePlan | None:
    return None if search.plan is None else read_plan(search.plan)


def is_benched(session: Session, search_id: str, boot_id: str) -> bool:
    return session.get(Bench, (search_id, boot_id)) is not None


def benched_searches(session: Session, boot_id: str) -> set[str]:
    """Return the searches that give a worker no more work."""
    return set(session.scalars(select(Bench.search_id).where(Bench.boot_id == boot_id)))


def clock(session: Session) -> float:
    """Return the time by the database's clock, in seconds since 1970."""
    return float(session.execute(select(now())).scalar_one())


def has_bench_of_trial(session: Session, search_id: str, trial_id: str) -> bool:
    """Whether a worker was benched because its environment failed in this trial."""
    bench = select(Bench.boot_id).where(Bench.search_id == search_id, Bench.trial_id == trial_id)
    return session.scalars(bench.limit(1)).first() is not None
