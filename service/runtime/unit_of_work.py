"""One decision on a search: its study held, its row locked, a transaction open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.runtime.context import Context
from service.schemas.states import ENDED_STATES
from service.store import searches
from service.store.models import Search
from service.study.live import LockedStudy


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """What a decision works with. At its end everything is committed, or nothing happened."""

    context: Context
    locked_study: LockedStudy
    session: Session
    search: Search


@contextmanager
def unit_of_work(
    context: Context, search_id: str, *, makes_work: bool = True
) -> Iterator[UnitOfWork]:
    """Open a turn, or raise `NotFound`. The study is held first, the row locked second.

    Args:
        makes_work: Whether slots that wait may find work afterwards that was not there before.
    """
    with context.studies.hold(search_id) as locked_study:
        with context.database.write() as session:
            search = searches.lock(session, search_id)
            before = search.events
            yield UnitOfWork(context, locked_study, session, search)
        if search.state in ENDED_STATES:
            context.studies.drop(search_id)
        if search.events > before:
            context.publish(makes_work=makes_work)
