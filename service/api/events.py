"""What happens in a search, as it happens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.deps import Parts, reads
from service.core import Core
from service.errors import Fault, Invalid
from service.store import events, searches
from service.store.models import Event

router = APIRouter(tags=["events"], dependencies=[reads])

BATCH = 500
KEEP_LOOKING_SECONDS = 5.0
"""A follower looks for itself this often, in case it missed the call."""

MIN_PAUSE_SECONDS = 0.1
"""Between two looks, so that many events make few queries."""


async def existing(id: str, core: Parts) -> str:
    """Return the id of a search that exists, or raise `NotFound`, before the stream begins."""
    await asyncio.to_thread(_check, core, id)
    return id


def position(
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event; left out: from the first.")
    ] = None,
) -> int:
    """Read where a follower left off, or raise `Invalid`."""
    text = last_event_id or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid([Fault("Last-Event-ID", "must be the id of an event", last_event_id)])
    return int(text)


@router.get("/searches/{id}/events", response_class=EventSourceResponse)
async def follow(
    id: Annotated[str, Depends(existing)],
    after: Annotated[int, Depends(position)],
    core: Parts,
) -> AsyncIterator[ServerSentEvent]:
    """Follow a search until it is deleted.

    Holds neither thread nor session nor transaction while it waits.
    """
    while not core.news.is_over:
        news = core.news.next()
        found = await asyncio.to_thread(_since, core, id, after)
        if found is None:
            return
        for event in found:
            yield ServerSentEvent(data=event.data, event=event.kind, id=str(event.number))
            after = event.number
        if len(found) < BATCH:
            await core.news.wait(news, KEEP_LOOKING_SECONDS)
        await asyncio.sleep(MIN_PAUSE_SECONDS)


def _check(core: Core, search_id: str) -> None:
    with core.database.read() as session:
        searches.get(session, search_id)


def _since(core: Core, search_id: str, after: int) -> Sequence[Event] | None:
    """Return the next events; None where the search is no more."""
    with core.database.read() as session:
        if not searches.exists(session, search_id):
            return None
        return events.since(session, search_id, after, limit=BATCH)
