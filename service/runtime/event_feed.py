"""Server-sent events of a search: read and encoded once, then sent to every follower."""

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
"""Events of one read of the store, and of one chunk to a follower."""

BUFFER_SIZE = 2000
"""So many of the newest events stay in memory; a follower that needs older ones reads the store."""

POLL_SECONDS = 5.0
"""A feed reads the store this often without a notification: another process may have written."""

MIN_PAUSE_SECONDS = 0.1
"""Between two reads, so that many events make few queries and few chunks."""

PING_SECONDS = 15.0
"""Without events a comment is sent this often, so that no proxy closes the connection."""

log = logging.getLogger(__name__)


class EventFeed:
    """The newest events of one search, encoded. Use it on the event loop only.

    Events are numbered without gaps, so the index of one in the buffer follows from its number.
    All followers share the buffer: a slow one has no queue that could grow.
    """

    def __init__(self, database: Database, search_id: str) -> None:
        self._database = database
        self._search_id = search_id
        self._buffer: deque[bytes] = deque(maxlen=BUFFER_SIZE)
        self._last = 0
        self._changed = asyncio.Event()
        self._ended = False

    async def after(self, number: int) -> AsyncIterator[bytes]:
        """Yield the events after one, several at once, until the feed has ended."""
        while True:
            # Taken before the check, or a change between the two would be missed.
            changed = self._changed
            if number < self._last:
                chunk, number = await self._chunk_after(number)
                if not chunk:
                    return
                yield chunk
            elif self._ended:
                return
            else:
                try:
                    await asyncio.wait_for(changed.wait(), PING_SECONDS)
                except TimeoutError:
                    yield KEEPALIVE_COMMENT

    async def run(self, notifier: Notifier) -> None:
        """Read new events until the search is deleted or the notifier is closed."""
        try:
            self._last = await asyncio.to_thread(self._newest)
            while not notifier.is_closed:
                notified = notifier.subscribe()
                found = await asyncio.to_thread(self._since, self._last)
                if found is None:
                    return
                self._buffer.extend(encoded(event) for event in found)
                self._last += len(found)
                self._notify()
                if len(found) < BATCH:
                    await notifier.wait(notified, POLL_SECONDS)
                await asyncio.sleep(MIN_PAUSE_SECONDS)
        except (ServiceError, SQLAlchemyError) as error:
            # The followers' connections end; the answer to their next request names the error.
            log.warning("cannot read the events of search %s: %s", self._search_id, error)
        finally:
            self._ended = True
            self._notify()

    async def _chunk_after(self, number: int) -> tuple[bytes, int]:
        """Return the events after one, and the number of the last; empty if they were deleted."""
        first = self._last - len(self._buffer)
        if number >= first:
            chunk = list(islice(self._buffer, number - first, number - first + BATCH))
        else:
            found = await asyncio.to_thread(self._since, number)
            chunk = [encoded(event) for event in found or ()]
        return b"".join(chunk), number + len(chunk)

    def _notify(self) -> None:
        # A new event, not `clear`: those who wait hold the old one, which stays set for them.
        self._changed.set()
        self._changed = asyncio.Event()

    def _newest(self) -> int:
        with self._database.read() as session:
            return searches.get(session, self._search_id).events

    def _since(self, number: int) -> Sequence[Event] | None:
        """Return the next events; None if the search was deleted."""
        with self._database.read() as session:
            if not searches.exists(session, self._search_id):
                return None
            return events.since(session, self._search_id, number, limit=BATCH)


class EventFeeds:
    """The feeds that have followers. Use it on the event loop only."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[EventFeed, asyncio.Task[None]]] = {}
        self._followers: dict[str, int] = {}

    @asynccontextmanager
    async def follow(
        self, database: Database, notifier: Notifier, search_id: str
    ) -> AsyncIterator[EventFeed]:
        """Follow the feed of a search; it runs while it has followers."""
        # A feed that has ended by an error is replaced; its followers notice by themselves.
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
    """Return an event in the format of server-sent events; `at` in its data is its time."""
    at = datetime.fromtimestamp(event.created_at, UTC).isoformat()
    data = json.dumps({**event.data, "at": at}, separators=(",", ":"), ensure_ascii=False)
    return format_sse_event(data_str=data, event=event.kind, id=str(event.number))
