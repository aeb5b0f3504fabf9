"""The calls of an attempt: reports, measurements, output, files, the outcome."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, status

from search_space.contract import (
    LogReply,
    Measurements,
    MeasurementsReply,
    Outcome,
    Reports,
    ReportsReply,
    Stored,
)
from service.api.bodies import UNLIMITED, binary_body
from service.api.deps import Lease, ServiceContext
from service.runtime.context import Context
from service.store import attempts, trials
from service.store.artifacts import ReceivedFile, check_name
from service.trials.logs import MAX_PIECE_BYTES, append
from service.trials.measurements import record_measurements
from service.trials.outcomes import record_outcome
from service.trials.reports import report

Digest = Annotated[
    str | None,
    Query(pattern="^[0-9a-f]{64}$", description="Of the file; what does not match is refused."),
]

router = APIRouter(prefix="/leases/{lease}", tags=["attempts"])


@router.post("/reports")
def send_reports(lease: Lease, body: Reports, context: ServiceContext) -> ReportsReply:
    """Report the metrics of epochs; the answer says whether to go on."""
    verdict = report(context, lease, body.reports)
    context.metrics.reports.inc(len(body.reports))
    return ReportsReply(verdict=verdict)


@router.post("/measurements")
def send_measurements(
    lease: Lease, body: Measurements, context: ServiceContext
) -> MeasurementsReply:
    """Tell what the candidate costs; the trial ends here if that breaks a constraint."""
    return record_measurements(context, lease, body)


@router.post(
    "/logs",
    max_body_size=MAX_PIECE_BYTES,
    openapi_extra=binary_body(),
)
async def append_log(
    lease: Lease,
    offset: Annotated[int, Query(ge=0, lt=2**62)],
    request: Request,
    context: ServiceContext,
) -> LogReply:
    """Append to the attempt's output, also after its end: it decides nothing.

    A piece that is there already is left alone, and one that would leave a gap is not taken;
    the answer says where the next piece begins.
    """
    data = await request.body()
    return LogReply(next=await asyncio.to_thread(append, context, lease, offset, data))


@router.put(
    "/artifacts/{name}",
    max_body_size=UNLIMITED,
    openapi_extra=binary_body(),
)
async def store_artifact(
    lease: Lease, name: str, request: Request, context: ServiceContext, sha256: Digest = None
) -> Stored:
    """Store a file of the trial; a newer one of the same name takes its place."""
    check_name(name)
    limit = context.settings.max_artifact_bytes
    received = await context.artifacts.receive(request.stream(), limit=limit, sha256=sha256)
    return await asyncio.to_thread(_store_file, context, lease, name, received)


@router.post("/outcome", status_code=status.HTTP_204_NO_CONTENT)
def send_outcome(lease: Lease, body: Outcome, context: ServiceContext) -> None:
    """Say how the attempt ended. Saying it again changes nothing."""
    record_outcome(context, lease, body)


def _store_file(context: Context, lease: str, name: str, received: ReceivedFile) -> Stored:
    try:
        with context.artifacts.lock:
            with context.database.read() as session:
                attempts.current(session, lease)
            # Before the transaction, which must not stay open while a remote store is slow.
            context.artifacts.add(received)
            with context.database.write() as session:
                _, trial = attempts.current(session, lease)
                unused = trials.put_artifact(
                    session, trial, name, sha256=received.sha256, size=received.size
                )
                attempts.record_activity(session, [lease], seconds=context.settings.lease_seconds)
            if unused is not None:
                context.artifacts.discard(unused)
    finally:
        received.partial.unlink(missing_ok=True)
    return Stored(name=name, sha256=received.sha256, size=received.size)
