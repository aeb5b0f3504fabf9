"""The calls on trials: lists, curves, output and files."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import StreamingResponse

from search_space.contract import CHECKPOINT, WEIGHTS, TrialKind
from service.api.deps import (
    After,
    Limit,
    ReadableTrial,
    ReadSession,
    ServiceContext,
    reads,
    reads_or_submits,
)
from service.errors import NotFound
from service.insight.table import trials_as_csv
from service.runtime.context import Context
from service.runtime.unit_of_work import unit_of_work
from service.schemas.base import Page
from service.schemas.requests import TrialByHand
from service.schemas.states import TrialState
from service.schemas.trials import ArtifactAnswer, LogAnswer, ReportAnswer, TrialAnswer
from service.store import searches, trial_reports, trials
from service.store.artifacts import check_name
from service.store.models import Artifact
from service.trials.logs import POLL_SECONDS, read
from service.trials.manual import add_manual_trial

router = APIRouter(tags=["trials"])
READS = [reads]
SUBMITS = [reads_or_submits]


States = Annotated[list[TrialState], Query(description="Only trials in one of these states.")]
Kinds = Annotated[list[TrialKind], Query(description="Only trials of these kinds.")]
Ordered = Annotated[trials.Order, Query(description="With a minus the highest first.")]


@router.get("/searches/{id}/trials", dependencies=READS)
def list_trials(
    id: str,
    session: ReadSession,
    after: After,
    limit: Limit = 100,
    order: Ordered = "number",
    state: States = [],  # noqa: B006
    kind: Kinds = [],  # noqa: B006
) -> Page[TrialAnswer]:
    """List a search's trials; by value, those that have one."""
    searches.get(session, id)
    found = trials.page(
        session, id, after=after, limit=limit + 1, order=order, states=state, kinds=kind
    )
    shown = found[:limit]
    cursor = trials.cursor_of(shown[-1], order).encode() if len(found) > limit else None
    return Page(items=[TrialAnswer.model_validate(trial) for trial in shown], next=cursor)


@router.post("/searches/{id}/trials", dependencies=SUBMITS, status_code=status.HTTP_201_CREATED)
def add_trial(
    id: str, body: TrialByHand, context: ServiceContext, response: Response
) -> TrialAnswer:
    """Add a candidate by hand. It costs no budget, and the sampler learns of it."""
    with unit_of_work(context, id) as unit:
        trial = add_manual_trial(unit, body.candidate)
        answer = TrialAnswer.model_validate(trial)
    response.headers["Location"] = f"/v1/trials/{answer.id}"
    return answer


@router.get(
    "/searches/{id}/trials.csv",
    dependencies=READS,
    response_class=StreamingResponse,
    responses={status.HTTP_200_OK: {"content": {"text/csv": {}}}},
)
def download_trials(id: str, context: ServiceContext, session: ReadSession) -> StreamingResponse:
    """Download every trial as CSV, a row each, with a column for the activation of each site."""
    search = searches.get(session, id)
    return StreamingResponse(
        trials_as_csv(context.database, search),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{id}-trials.csv"'},
    )


@router.get("/trials/{id}", dependencies=READS)
def read_trial(id: str, session: ReadSession) -> TrialAnswer:
    """Read a trial."""
    return TrialAnswer.model_validate(trials.get(session, id))


@router.get("/trials/{id}/reports", dependencies=READS)
def read_reports(id: str, session: ReadSession) -> list[ReportAnswer]:
    """Read a trial's curve: one report for each epoch."""
    trials.get(session, id)
    return [ReportAnswer.model_validate(report) for report in trial_reports.curve(session, id)]


@router.get("/trials/{id}/logs", dependencies=READS)
async def read_log(
    id: str,
    context: ServiceContext,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="None: the last.")] = None,
    offset: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    tail: Annotated[
        int | None, Query(ge=1, le=10_000, description="The last lines, whatever the offset.")
    ] = None,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for more.")] = 0,
) -> LogAnswer:
    """Read what a trial has printed. Holds neither thread nor session while it waits."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait
    while True:
        notified = context.log_notifier.subscribe()
        answer = await asyncio.to_thread(_read_log, context, id, attempt, offset, tail)
        left = deadline - clock()
        if answer.text or answer.ended or left <= 0 or context.log_notifier.is_closed:
            return answer
        await context.log_notifier.wait(notified, min(left, POLL_SECONDS))


@router.get("/trials/{id}/artifacts", dependencies=READS)
def list_artifacts(id: str, session: ReadSession) -> list[ArtifactAnswer]:
    """List a trial's files."""
    trials.get(session, id)
    return [ArtifactAnswer.model_validate(row) for row in trials.artifacts(session, id)]


@router.get("/trials/{id}/start", response_class=StreamingResponse)
def download_start(
    id: ReadableTrial, context: ServiceContext, session: ReadSession
) -> StreamingResponse:
    """Download the weights that the trial starts from, where its search tunes a network."""
    row = trials.start_of(session, trials.get(session, id).search_id)
    if row is None:
        raise NotFound("weights to start from of trial", id)
    return _download(context, row)


@router.get("/trials/{id}/artifacts/{name}", response_class=StreamingResponse)
def download_artifact(
    id: ReadableTrial, name: str, context: ServiceContext, session: ReadSession
) -> StreamingResponse:
    """Download a file of a trial; it breaks off where the file is not what was stored."""
    row = trials.artifact(session, trials.get(session, id).id, check_name(name))
    if row is None:
        raise _not_kept(context, id, name)
    return _download(context, row)


def _not_kept(context: Context, id: str, name: str) -> NotFound:
    """Return the error for a missing file, with the reason if it is known."""
    count = context.settings.keep_weights
    why = {CHECKPOINT: "those of ended trials are deleted"}
    if count:
        why[WEIGHTS] = f"they are kept of the {count} best trials of a search"
    reason = f"; {why[name]}" if name in why else ""
    return NotFound(f"artifact of trial {id}", name, reason)


def _download(context: Context, row: Artifact) -> StreamingResponse:
    return StreamingResponse(
        context.artifacts.chunks(row.sha256),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(row.size),
            "Content-Disposition": f'attachment; filename="{row.name}"',
            "ETag": f'"{row.sha256}"',
        },
    )


def _read_log(
    context: Context, trial_id: str, attempt: int | None, offset: int, tail: int | None
) -> LogAnswer:
    with context.database.read() as session:
        return read(session, trials.get(session, trial_id), attempt, offset=offset, tail=tail)
