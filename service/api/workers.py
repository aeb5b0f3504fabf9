"""The calls of workers: registration, heartbeats, requests for work."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response, status

from search_space.contract import (
    PROTOCOL,
    Assignment,
    Heartbeat,
    HeartbeatReply,
    LeaseRequest,
    WorkerManifest,
    WorkerWelcome,
)
from service.api.deps import ReadSession, ServiceContext, WaitingSlots, reads, works
from service.errors import BadProtocol
from service.schemas.offers import TaskAnswer, WorkerAnswer
from service.store import attempts, searches, workers
from service.trials.heartbeats import heartbeat

router = APIRouter(tags=["workers"])


@router.put("/workers/{id}", dependencies=[works])
def register(
    id: str, body: WorkerManifest, context: ServiceContext, lease_queue: WaitingSlots
) -> WorkerWelcome:
    """Introduce a worker: what it is and what it offers. One that rests is given no more work."""
    with context.database.write() as session:
        workers.register(session, id, body)
    if body.resting is not None:
        lease_queue.remove_worker(id)
    context.publish(makes_work=True)
    return WorkerWelcome(lease_seconds=context.settings.lease_seconds)


@router.delete("/workers/{id}", dependencies=[works], status_code=status.HTTP_204_NO_CONTENT)
def leave(id: str, context: ServiceContext, lease_queue: WaitingSlots) -> None:
    """Take leave: the worker gets no more work, not even what it is about to hand back."""
    with context.database.write() as session:
        workers.remove(session, id)
    lease_queue.remove_worker(id)


@router.post("/workers/{id}/heartbeat", dependencies=[works])
def beat(id: str, body: Heartbeat, context: ServiceContext) -> HeartbeatReply:
    """Give a sign of life, which renews every lease it names."""
    return heartbeat(context, id, body)


@router.post(
    "/leases",
    dependencies=[works],
    responses={
        status.HTTP_200_OK: {"model": Assignment},
        status.HTTP_204_NO_CONTENT: {"description": "Nothing waits; ask again."},
    },
)
async def lease(body: LeaseRequest, request: Request, lease_queue: WaitingSlots) -> Response:
    """Ask for work, and wait for it. A repeated request gets the same attempt."""
    if not body.protocol_min <= PROTOCOL <= body.protocol_max:
        raise BadProtocol(body.protocol_min, body.protocol_max, PROTOCOL)
    waiting = lease_queue.add(body)
    answer: asyncio.Future[Any] = asyncio.wrap_future(waiting.answer)
    disconnected = asyncio.create_task(_disconnection(request))
    try:
        await asyncio.wait(
            [answer, disconnected], timeout=body.wait_seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        disconnected.cancel()
        lease_queue.remove(waiting)
    # The scheduler may have claimed the request before it was removed: then its work is the answer.
    assignment = await answer
    if assignment is None:
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    return Response(assignment.model_dump_json(), media_type="application/json")


async def _disconnection(request: Request) -> None:
    """Return when the worker has disconnected: work that is handed out then would be lost."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.get("/workers", dependencies=[reads])
def list_workers(context: ServiceContext, session: ReadSession) -> list[WorkerAnswer]:
    """List the workers, those seen last first, at most 1,000."""
    since = searches.clock(session) - 2 * context.settings.lease_seconds
    return [
        WorkerAnswer(
            id=worker.id,
            alive=worker.seen_at > since,
            slots=manifest.slots,
            devices=manifest.devices,
            versions=manifest.versions,
            tasks=[offer.name for offer in manifest.tasks],
            running=list(attempts.trials_of(session, worker.boot_id)),
            resting=manifest.resting,
            seen_at=worker.seen_at,
        )
        for worker in workers.newest(session)
        for manifest in [workers.manifest_of(worker)]
    ]


@router.get("/tasks", dependencies=[reads])
def list_tasks(session: ReadSession) -> list[TaskAnswer]:
    """List the tasks that workers offer, with the JSON Schema of their settings."""
    offers = {offer.name: offer for offer in reversed(workers.offers(session))}
    return [TaskAnswer.model_validate(offers[name].model_dump()) for name in sorted(offers)]
