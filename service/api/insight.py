"""Figures, learned shapes, and exports of a search."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse

from service.api.deps import ReadSession, Renderer, ServiceContext, reads
from service.insight import learned_shapes
from service.insight.plots import PLOTS
from service.results.best_config import choose
from service.runtime.context import Context
from service.schemas.results import PlotAnswer
from service.schemas.trials import ShapesAnswer
from service.store import searches

router = APIRouter(prefix="/searches", tags=["insight"], dependencies=[reads])

WAIT_SECONDS = 10.0

_LATER: dict[int | str, dict[str, Any]] = {
    status.HTTP_202_ACCEPTED: {"description": "It is being written; ask again."},
}


@router.get("/{id}/plots")
def list_plots(id: str, session: ReadSession) -> list[PlotAnswer]:
    """List the plots of a search."""
    searches.get(session, id)
    return [
        PlotAnswer(name=name, description=plot.description, url=f"/v1/searches/{id}/plots/{name}")
        for name, plot in PLOTS.items()
    ]


@router.get("/{id}/plots/{name}")
async def read_plot(
    id: str, name: str, pictures: Renderer, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Read a Plotly figure as JSON: `data` and `layout`, of at most 1,000 points."""
    drawn = await pictures.figure(id, name)
    headers = {"ETag": drawn.tag, "Cache-Control": "private, no-cache"}
    if if_none_match == drawn.tag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(drawn.body, media_type="application/json", headers=headers)


@router.get("/{id}/shapes")
def read_shapes(
    id: str,
    context: ServiceContext,
    session: ReadSession,
    trial: Annotated[
        str | None, Query(description="None: the confirmed winner, else the best so far.")
    ] = None,
    epoch: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="The first is 1; None: the end.")
    ] = None,
) -> ShapesAnswer:
    """Read the functions that a trial of the search has learned, site by site."""
    return learned_shapes.read(session, context.artifacts, searches.get(session, id), trial, epoch)


@router.get(
    "/{id}/optuna",
    response_class=FileResponse,
    responses=_LATER,
)
async def read_optuna(id: str, request: Request, pictures: Renderer) -> Response:
    """Download the trials as a SQLite storage that Optuna and optuna-dashboard open.

    A job in the background writes it; while that lasts longer than a few seconds, the answer is
    202, and `Retry-After` says when to ask again.
    """
    path = await pictures.optuna(id, wait=WAIT_SECONDS)
    if path is None:
        return _writing(request)
    return FileResponse(path, media_type="application/vnd.sqlite3", filename=f"{id}.db")


@router.get("/{id}/best/bundle", response_class=FileResponse, responses=_LATER)
async def read_bundle(
    id: str,
    request: Request,
    context: ServiceContext,
    pictures: Renderer,
    unconfirmed: Annotated[
        bool, Query(description="Of the best of the search though it has not been confirmed.")
    ] = False,
) -> Response:
    """Download all that makes the best config usable, as a zip file.

    The config, the weights, a file of Python that needs torch alone, the network as ONNX, a
    report, the search's document, the parts of a paper, and a manifest with digests, which says
    what is left out and why.
    """
    await asyncio.to_thread(_must_be_ready, context, id, unconfirmed=unconfirmed)
    path = await pictures.bundle(id, unconfirmed=unconfirmed, wait=WAIT_SECONDS)
    if path is None:
        return _writing(request)
    return FileResponse(path, media_type="application/zip", filename=f"{id}.zip")


def _must_be_ready(context: Context, id: str, *, unconfirmed: bool) -> None:
    with context.database.read() as session:
        choose(session, searches.get(session, id), unconfirmed=unconfirmed)


def _writing(request: Request) -> Response:
    return JSONResponse(
        {"state": "writing", "url": request.url.path},
        status_code=status.HTTP_202_ACCEPTED,
        headers={"Retry-After": "1"},
    )
