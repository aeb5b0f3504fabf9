"""Trials: their curves and their files."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from service.api.deps import After, Limit, Parts, ReadableTrial, Reader, reads
from service.artifacts import check_name
from service.errors import NotFound
from service.schemas import ArtifactAnswer, Page, ReportAnswer, TrialAnswer
from service.store import searches, trials
from service.store.cursor import Cursor

router = APIRouter(tags=["trials"])
READS = [reads]


@router.get("/searches/{id}/trials", dependencies=READS)
def list_trials(id: str, session: Reader, after: After, limit: Limit = 100) -> Page[TrialAnswer]:
    """List a search's trials in the order of their numbers."""
    searches.get(session, id)
    start = -1.0 if after is None else after.key
    found = trials.page(session, id, after=start, limit=limit + 1)
    shown = found[:limit]
    cursor = None
    if len(found) > limit:
        cursor = Cursor(float(shown[-1].number or 0), shown[-1].id).encode()
    return Page(items=[TrialAnswer.model_validate(trial) for trial in shown], next=cursor)


@router.get("/trials/{id}", dependencies=READS)
def read_trial(id: str, session: Reader) -> TrialAnswer:
    """Read a trial."""
    return TrialAnswer.model_validate(trials.get(session, id))


@router.get("/trials/{id}/reports", dependencies=READS)
def read_reports(id: str, session: Reader) -> list[ReportAnswer]:
    """Read a trial's curve: one report for each epoch."""
    trials.get(session, id)
    return [ReportAnswer.model_validate(report) for report in trials.reports(session, id)]


@router.get("/trials/{id}/artifacts", dependencies=READS)
def list_artifacts(id: str, session: Reader) -> list[ArtifactAnswer]:
    """List a trial's files."""
    trials.get(session, id)
    return [ArtifactAnswer.model_validate(row) for row in trials.artifacts(session, id)]


@router.get("/trials/{id}/artifacts/{name}", response_class=FileResponse)
def download_artifact(id: ReadableTrial, name: str, core: Parts, session: Reader) -> FileResponse:
    """Download a file of a trial."""
    row = trials.artifact(session, trials.get(session, id).id, check_name(name))
    if row is None:
        raise NotFound(f"artifact of trial {id}", name)
    return FileResponse(
        core.artifacts.path(row.sha256),
        media_type="application/octet-stream",
        filename=row.name,
        headers={"ETag": f'"{row.sha256}"'},
    )
