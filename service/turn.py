"""One decision on a search: its study held, its row locked, a transaction open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.core import Core
from service.store import searches
from service.store.models import Search
from service.studies import Held


@dataclass(frozen=True, slots=True)
class Turn:
    """What a decision works with. At its end everything is committed, or nothing happened."""

    core: Core
    held: Held
    session: Session
    search: Search


@contextmanager
def take_turn(core: Core, search_id: str) -> Iterator[Turn]:
    """Open a turn, or raise `NotFound`. The study is held first, the row locked second."""
    with core.studies.hold(search_id) as held:
        with core.database.write() as session:
            search = searches.lock(session, search_id)
            before = search.events
            yield Turn(core, held, session, search)
        if search.events > before:
            core.news.publish()
