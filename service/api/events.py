"""The events of a search as a stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from service.api.deps import ServiceContext, reads
from service.errors import Fault, Invalid
from service.runtime.context import Context
from service.runtime.event_feed import EventFeed
from service.store import searches

router = APIRouter(tags=["events"], dependencies=[reads])


class EventStream(StreamingResponse):
    """Server-sent events that are encoded already; `EventSourceResponse` would encode them."""

    media_type = "text/event-stream"


_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Proxies do not buffer events."""


async def feed(id: str, context: ServiceContext) -> AsyncIterator[EventFeed]:
    """Follow the feed of a search until the response has ended, or raise `NotFound`."""
    await asyncio.to_thread(_check, context, id)
    async with context.event_feeds.follow(context.database, context.notifier, id) as followed:
        yield followed


def position(
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event; left out: from the first.")
    ] = None,
) -> int:
    """Return the number of the last event that a follower has, or raise `Invalid`."""
    text = last_event_id or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid([Fault("Last-Event-ID", "must be the id of an event", last_event_id)])
    return int(text)


@router.get("/searches/{id}/events", response_class=EventStream)
async def follow(
    feed: Annotated[EventFeed, Depends(feed)], after: Annotated[int, Depends(position)]
) -> EventStream:
    """Follow a search until it is deleted.

    Holds neither thread nor session nor transaction while it waits.
    """
    return EventStream(feed.after(after), headers=_HEADERS)


def _check(context: Context, search_id: str) -> None:
    with context.database.read() as session:
        searches.get(session, search_id)
