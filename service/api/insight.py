"""Figures of a search, and its trials for other tools."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse

from service.api.deps import Pictures, Reader, reads
from service.insight.plots import PLOTS
from service.schemas import PlotAnswer
from service.store import searches

router = APIRouter(prefix="/searches", tags=["insight"], dependencies=[reads])

WAIT_SECONDS = 10.0


@router.get("/{id}/plots")
def list_plots(id: str, session: Reader) -> list[PlotAnswer]:
    """List the plots of a search."""
    searches.get(session, id)
    return [
        PlotAnswer(name=name, description=plot.description, url=f"/v1/searches/{id}/plots/{name}")
        for name, plot in PLOTS.items()
    ]


@router.get("/{id}/plots/{name}")
async def read_plot(
    id: str, name: str, pictures: Pictures, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Read a Plotly figure as JSON: `data` and `layout`, of at most 1,000 points."""
    drawn = await pictures.figure(id, name)
    headers = {"ETag": drawn.tag, "Cache-Control": "private, no-cache"}
    if if_none_match == drawn.tag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(drawn.body, media_type="application/json", headers=headers)


@router.get(
    "/{id}/optuna",
    response_class=FileResponse,
    responses={
        status.HTTP_202_ACCEPTED: {"description": "It is being written; ask again."},
    },
)
async def read_optuna(id: str, request: Request, pictures: Pictures) -> Response:
    """Download the trials as a SQLite storage that Optuna and optuna-dashboard open.

    A job in the background writes it; while that lasts longer than a few seconds, the answer is
    202, and `Retry-After` says when to ask again.
    """
    path = await pictures.optuna(id, wait=WAIT_SECONDS)
    if path is None:
        return JSONResponse(
            {"state": "writing", "url": request.url.path},
            status_code=status.HTTP_202_ACCEPTED,
            headers={"Retry-After": "1"},
        )
    return FileResponse(path, media_type="application/vnd.sqlite3", filename=f"{id}.db")
