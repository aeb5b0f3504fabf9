"""The calls on searches: submit, read, change, pause, resume, end, fork, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response, status

from search_space.search import SearchSpec
from search_space.spec import to_data
from service.api.deps import After, Limit, ReadSession, ServiceContext, reads_or_submits
from service.api.examples import EXAMPLES
from service.housekeeping.deletion import mark
from service.results import summary
from service.results.best_config import choose
from service.runtime.context import Context
from service.runtime.unit_of_work import unit_of_work
from service.schemas.base import Page
from service.schemas.requests import Changes, Edits
from service.schemas.results import BestAnswer
from service.schemas.searches import PreviewAnswer, SearchAnswer
from service.schemas.states import SearchState
from service.searches.changes import change
from service.searches.lifecycle import cancel, kill, pause, resume
from service.searches.preview import preview
from service.searches.submission import fork, submit
from service.store import searches
from service.store.cursor import Cursor

router = APIRouter(prefix="/searches", tags=["searches"], dependencies=[reads_or_submits])

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="Makes a repeat harmless.")
]
SearchBody = Annotated[SearchSpec, Body(openapi_examples=EXAMPLES)]


@router.post("", status_code=status.HTTP_201_CREATED)
def submit_search(
    body: SearchBody,
    context: ServiceContext,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SearchAnswer:
    """Store a search. Everything that can be known to be wrong with it now is refused now."""
    search_id = submit(context, body, key=idempotency_key)
    response.headers["Location"] = f"/v1/searches/{search_id}"
    return _read(context, search_id)


@router.get("")
def list_searches(
    session: ReadSession,
    after: After,
    limit: Limit = 50,
    order: searches.Order = "newest",
    state: Annotated[list[SearchState], Query()] = [],  # noqa: B006
    named: Annotated[str, Query(max_length=200, description="Part of the name.")] = "",
) -> Page[SearchAnswer]:
    """List searches, newest first."""
    found = searches.page(
        session, after=after, limit=limit + 1, order=order, states=state, named=named
    )
    shown = found[:limit]
    cursor = Cursor(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
    return Page(
        items=summary.answers(session, shown), next=None if cursor is None else cursor.encode()
    )


@router.post("/preview")
def preview_search(body: SearchBody, session: ReadSession) -> PreviewAnswer:
    """Say what a search would be: its space, its cost, what it could find. Stores nothing."""
    return preview(session, body)


@router.patch("/{id}")
def change_search(id: str, body: Changes, context: ServiceContext) -> SearchAnswer:
    """Change budget, parallel, priority or name while the search runs.

    A completed search that may spend more than before runs on.
    """
    with unit_of_work(context, id) as unit:
        change(unit, body)
    return _read(context, id)


@router.delete("/{id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_search(id: str, context: ServiceContext) -> None:
    """Delete a search with all that is its own. It is gone at once; its rows and files follow."""
    mark(context, id)


@router.get("/{id}")
def read_search(id: str, session: ReadSession) -> SearchAnswer:
    """Read a search."""
    return summary.answers(session, [searches.get(session, id)])[0]


@router.post("/{id}/pause")
def pause_search(id: str, context: ServiceContext) -> SearchAnswer:
    """Hand out nothing more; running trials checkpoint at their next report and come back."""
    with unit_of_work(context, id) as unit:
        pause(unit)
    return _read(context, id)


@router.post("/{id}/resume")
def resume_search(id: str, context: ServiceContext) -> SearchAnswer:
    """Go on after a pause."""
    with unit_of_work(context, id) as unit:
        resume(unit)
    return _read(context, id)


@router.post("/{id}/cancel")
def cancel_search(id: str, context: ServiceContext) -> SearchAnswer:
    """Start nothing more; running trials finish."""
    with unit_of_work(context, id) as unit:
        cancel(unit)
    return _read(context, id)


@router.post("/{id}/kill")
def kill_search(id: str, context: ServiceContext) -> SearchAnswer:
    """Start nothing more; running trials are told to end at their next word."""
    with unit_of_work(context, id) as unit:
        kill(unit)
    return _read(context, id)


@router.post("/{id}/fork", status_code=status.HTTP_201_CREATED)
def fork_search(
    id: str,
    context: ServiceContext,
    response: Response,
    body: Edits | None = None,
    idempotency_key: IdempotencyKey = None,
) -> SearchAnswer:
    """Submit a search anew, with edits of its document."""
    edits = {} if body is None else body.given
    forked = fork(context, id, edits, key=idempotency_key)
    response.headers["Location"] = f"/v1/searches/{forked}"
    return _read(context, forked)


@router.get("/{id}/best")
def read_best(id: str, session: ReadSession) -> BestAnswer:
    """Read the ranking, and what may be claimed."""
    return summary.best(session, searches.get(session, id))


@router.get("/{id}/best/config")
def read_best_config(
    id: str,
    session: ReadSession,
    unconfirmed: Annotated[
        bool, Query(description="The best of the search though it has not been confirmed.")
    ] = False,
) -> dict[str, Any]:
    """Read the best activation config. Until a confirmation it is the original network's."""
    search = searches.get(session, id)
    return dict(to_data(choose(session, search, unconfirmed=unconfirmed).config))


def _read(context: Context, search_id: str) -> SearchAnswer:
    with context.database.read() as session:
        return summary.answers(session, [searches.get(session, search_id)])[0]
