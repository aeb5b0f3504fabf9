"""The queue: which searches wait, and why."""

from fastapi import APIRouter

from service.api.deps import After, Limit, ReadSession, ServiceContext, reads
from service.scheduling.queue import read_queue
from service.schemas.base import Page
from service.schemas.searches import QueuedAnswer
from service.store.cursor import Cursor

router = APIRouter(tags=["queue"], dependencies=[reads])


@router.get("/queue")
def list_queue(
    context: ServiceContext, session: ReadSession, after: After, limit: Limit = 50
) -> Page[QueuedAnswer]:
    """List the searches that have not ended, those served first first, and what each waits for."""
    start = 0 if after is None else max(0, int(after.key))
    seconds = context.settings.lease_seconds
    found = read_queue(session, start=start, limit=limit + 1, lease_seconds=seconds)
    cursor = Cursor(float(start + limit), "").encode() if len(found) > limit else None
    return Page(items=found[:limit], next=cursor)
