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
    """Whether a search is there and not being deleted."""
    here = select(Search.id).where(Search.id == search_id, Search.wanted != Wanted.DELETE)
    return session.scalar(here) is not None


def there(session: Session, ids: Collection[str]) -> dict[str, Search]:
    """Return those searches by their ids that are not being deleted."""
    here = select(Search).where(Search.id.in_(ids), Search.wanted != Wanted.DELETE)
    return {search.id: search for search in session.scalars(here)}


def lock(session: Session, search_id: str) -> Search:
    """Return a search with its row locked: what is counted under it stays true until commit."""
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
        named: Only searches with this in their names, in whatever case.
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
    """Return where a page ended: a cursor has the time, and the name is looked up."""
    if order != "name":
        return after.key
    last = session.get(Search, after.id)
    return "" if last is None else last.name


def in_turn(session: Session) -> Sequence[Search]:
    """Return the searches that want work done, in the order in which they get it.

    Those with priority first. Equals share the slots by what they may run side by side: first
    comes the one that has the least of its `parallel`, then the oldest.
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
    """Return the searches that run against a budget of hours."""
    limited = Search.budget_hours.is_not(None) | Search.budget_gpu_hours.is_not(None)
    return session.scalars(
        select(Search.id).where(limited, Search.state == SearchState.RUNNING)
    ).all()


def marked(session: Session) -> Sequence[str]:
    """Return the searches that shall be deleted."""
    return session.scalars(select(Search.id).where(Search.wanted == Wanted.DELETE)).all()


def submission(session: Session, key: str) -> Submission | None:
    return session.get(Submission, key)


def like(session: Session, task: Mapping[str, Any], *, limit: int = 20) -> Sequence[Search]:
    """Return searches that have trained the same task, the newest first; epochs may differ."""
    wanted = {**task, "epochs": None}
    rows = session.scalars(
        select(Search)
        .where(Search.started_at.is_not(None), Search.wanted != Wanted.DELETE)
        .order_by(Search.created_at.desc())
        .limit(100)
    )
    return [row for row in rows if {**row.document["task"], "epochs": None} == wanted][:limit]


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


def benching(session: Session, boot_id: str) -> set[str]:
    """Return the searches for which a worker is benched."""
    return set(session.scalars(select(Bench.search_id).where(Bench.boot_id == boot_id)))


def clock(session: Session) -> float:
    """Return the database's time."""
    return float(session.execute(select(now())).scalar_one())


def benched_for(session: Session, search_id: str, trial_id: str) -> bool:
    """Whether a worker was benched because its environment failed in this very trial."""
    bench = select(Bench.boot_id).where(Bench.search_id == search_id, Bench.trial_id == trial_id)
    return session.scalars(bench.limit(1)).first() is not None
