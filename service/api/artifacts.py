"""Uploads of users: weights that a search starts from."""

import asyncio

from fastapi import APIRouter, Request

from service.api.bodies import UNLIMITED, binary_body
from service.api.deps import ServiceContext, reads_or_submits
from service.runtime.context import Context
from service.schemas.trials import UploadAnswer
from service.store import trials
from service.store.artifacts import ReceivedFile

router = APIRouter(tags=["artifacts"], dependencies=[reads_or_submits])


@router.put(
    "/artifacts",
    max_body_size=UNLIMITED,
    openapi_extra=binary_body(),
)
async def upload(request: Request, context: ServiceContext) -> UploadAnswer:
    """Store a file and return its sha256, by which a search names the weights it starts from.

    It is kept for `artifact_grace_seconds`, and as long as a search names it.
    """
    limit = context.settings.max_artifact_bytes
    received = await context.artifacts.receive(request.stream(), limit=limit)
    await asyncio.to_thread(_store_file, context, received)
    return UploadAnswer(sha256=received.sha256, size=received.size)


def _store_file(context: Context, received: ReceivedFile) -> None:
    try:
        with context.artifacts.lock:
            with context.database.read() as session:
                is_named = trials.is_named(session, received.sha256)
            if not is_named:
                # Replaced, so that its age and with it the time it is kept begin again.
                context.artifacts.discard(received.sha256)
            context.artifacts.add(received)
    finally:
        received.partial.unlink(missing_ok=True)
