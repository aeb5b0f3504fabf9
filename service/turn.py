"""One decision on a search: its study held, its row locked, a transaction open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.core import Core
from service.store import searches
from service.store.models import ENDED_STATES, Search
from service.studies import Held


@dataclass(frozen=True, slots=True)
class Turn:
    """What a decision works with. At its end everything is committed, or nothing happened."""

    core: Core
    held: Held
    session: Session
    search: Search


@contextmanager
def take_turn(core: Core, search_id: str, *, makes_work: bool = True) -> Iterator[Turn]:
    """Open a turn, or raise `NotFound`. The study is held first, the row locked second.

    Args:
        makes_work: Whether slots that wait may find work afterwards that was not there before.
    """
    with core.studies.hold(search_id) as held:
        with core.database.write() as session:
            search = searches.lock(session, search_id)
            before = search.events
            yield Turn(core, held, session, search)
        if search.state in ENDED_STATES:
            core.studies.drop(search_id)
        if search.events > before:
            core.publish(makes_work=makes_work)
