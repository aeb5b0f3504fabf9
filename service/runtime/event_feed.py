"""The events of a search on their way to its followers: read once and encoded once for all."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ServiceError
from service.runtime.notifier import Notifier
from service.store import events, searches
from service.store.database import Database
from service.store.models import Event

BATCH = 500
"""Events of one look into the store, and of one piece to a follower."""

KEPT = 2000
"""The newest events stay in memory; who is further behind reads the store."""

KEEP_LOOKING_SECONDS = 5.0
"""A feed looks for itself this often, in case it missed the call."""

MIN_PAUSE_SECONDS = 0.1
"""Between two looks, so that many events make few queries and few pieces."""

PING_SECONDS = 15.0
"""Without events a comment is sent this often, lest something between hangs up."""

log = logging.getLogger(__name__)


class EventFeed:
    """The newest events of one search, as they go over the wire. Lives on the event loop.

    Events are numbered without gaps, so the place of one in memory follows from its number.
    A slow follower costs nothing but its own place: it has no queue here.
    """

    def __init__(self, database: Database, search_id: str) -> None:
        self._database = database
        self._search_id = search_id
        self._pieces: deque[bytes] = deque(maxlen=KEPT)
        self._last = 0
        self._moved = asyncio.Event()
        self._ended = False

    async def after(self, number: int) -> AsyncIterator[bytes]:
        """Yield what follows an event, several events at once, until there will be no more."""
        while True:
            moved = self._moved
            if number < self._last:
                piece, number = await self._next(number)
                if not piece:
                    return
                yield piece
            elif self._ended:
                return
            else:
                try:
                    await asyncio.wait_for(moved.wait(), PING_SECONDS)
                except TimeoutError:
                    yield KEEPALIVE_COMMENT

    async def run(self, notifier: Notifier) -> None:
        """Read what is new again and again, until the search or the news end."""
        try:
            self._last = await asyncio.to_thread(self._newest)
            while not notifier.is_over:
                fresh = notifier.next()
                found = await asyncio.to_thread(self._since, self._last)
                if found is None:
                    return
                self._pieces.extend(encoded(event) for event in found)
                self._last += len(found)
                self._move()
                if len(found) < BATCH:
                    await notifier.wait(fresh, KEEP_LOOKING_SECONDS)
                await asyncio.sleep(MIN_PAUSE_SECONDS)
        except (ServiceError, SQLAlchemyError) as error:
            # Followers are sent away and come back; whoever answers them then says what it is.
            log.warning("the events of search %s cannot be read: %s", self._search_id, error)
        finally:
            self._ended = True
            self._move()

    async def _next(self, number: int) -> tuple[bytes, int]:
        """Return the events after one, and the number of the last; nothing if they are gone."""
        first = self._last - len(self._pieces)
        if number >= first:
            pieces = list(islice(self._pieces, number - first, number - first + BATCH))
        else:
            found = await asyncio.to_thread(self._since, number)
            pieces = [encoded(event) for event in found or ()]
        return b"".join(pieces), number + len(pieces)

    def _move(self) -> None:
        # Who waits holds the old event; who comes later waits for the next move.
        self._moved.set()
        self._moved = asyncio.Event()

    def _newest(self) -> int:
        with self._database.read() as session:
            return searches.get(session, self._search_id).events

    def _since(self, number: int) -> Sequence[Event] | None:
        """Return the next events; None where the search is no more."""
        with self._database.read() as session:
            if not searches.exists(session, self._search_id):
                return None
            return events.since(session, self._search_id, number, limit=BATCH)


class EventFeeds:
    """The feeds that somebody follows. Lives on the event loop."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[EventFeed, asyncio.Task[None]]] = {}
        self._followers: dict[str, int] = {}

    @asynccontextmanager
    async def follow(
        self, database: Database, notifier: Notifier, search_id: str
    ) -> AsyncIterator[EventFeed]:
        """Follow the feed of a search, which runs while somebody does."""
        if search_id not in self._running or self._running[search_id][1].done():
            feed = EventFeed(database, search_id)
            self._running[search_id] = (feed, asyncio.create_task(feed.run(notifier)))
        self._followers[search_id] = self._followers.get(search_id, 0) + 1
        try:
            yield self._running[search_id][0]
        finally:
            self._followers[search_id] -= 1
            if not self._followers[search_id]:
                del self._followers[search_id]
                _, task = self._running.pop(search_id)
                task.cancel()


def encoded(event: Event) -> bytes:
    """Return an event as server-sent events are written; its data says `at` when it happened."""
    at = datetime.fromtimestamp(event.created_at, UTC).isoformat()
    data = json.dumps({**event.data, "at": at}, separators=(",", ":"), ensure_ascii=False)
    return format_sse_event(data_str=data, event=event.kind, id=str(event.number))
