"""Searches: submitted, read, changed, paused, resumed, ended, forked, deleted."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response, status

from search_space.search import Search as Document
from search_space.spec import to_data
from service import ranking
from service.api.deps import After, Limit, Parts, Reader, reads_or_submits
from service.api.examples import EXAMPLES
from service.asked import Changes, Edits
from service.changes import change
from service.configs import choose
from service.core import Core
from service.deletion import mark
from service.intake import fork, submit
from service.life import cancel, kill, pause, resume
from service.preview import preview
from service.schemas.base import Page
from service.schemas.results import BestAnswer
from service.schemas.searches import PreviewAnswer, SearchAnswer
from service.store import searches
from service.store.cursor import Cursor
from service.store.models import SearchState
from service.turn import take_turn

router = APIRouter(prefix="/searches", tags=["searches"], dependencies=[reads_or_submits])

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, description="Makes a repeat harmless.")
]
SearchBody = Annotated[Document, Body(openapi_examples=EXAMPLES)]


@router.post("", status_code=status.HTTP_201_CREATED)
def submit_search(
    body: SearchBody, core: Parts, response: Response, idempotency_key: IdempotencyKey = None
) -> SearchAnswer:
    """Store a search. Everything that can be known to be wrong with it now is refused now."""
    search_id = submit(core, body, key=idempotency_key)
    response.headers["Location"] = f"/v1/searches/{search_id}"
    return _read(core, search_id)


@router.get("")
def list_searches(
    session: Reader,
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
        items=ranking.answers(session, shown), next=None if cursor is None else cursor.encode()
    )


@router.post("/preview")
def preview_search(body: SearchBody, session: Reader) -> PreviewAnswer:
    """Say what a search would be: its space, its cost, what it could find. Stores nothing."""
    return preview(session, body)


@router.patch("/{id}")
def change_search(id: str, body: Changes, core: Parts) -> SearchAnswer:
    """Change budget, parallel, priority or name while the search runs.

    A completed search that may spend more than before runs on.
    """
    with take_turn(core, id) as turn:
        change(turn, body)
    return _read(core, id)


@router.delete("/{id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_search(id: str, core: Parts) -> None:
    """Delete a search with all that is its own. It is gone at once; its rows and files follow."""
    mark(core, id)


@router.get("/{id}")
def read_search(id: str, session: Reader) -> SearchAnswer:
    """Read a search."""
    return ranking.answers(session, [searches.get(session, id)])[0]


@router.post("/{id}/pause")
def pause_search(id: str, core: Parts) -> SearchAnswer:
    """Hand out nothing more; running trials checkpoint at their next report and come back."""
    with take_turn(core, id) as turn:
        pause(turn)
    return _read(core, id)


@router.post("/{id}/resume")
def resume_search(id: str, core: Parts) -> SearchAnswer:
    """Go on after a pause."""
    with take_turn(core, id) as turn:
        resume(turn)
    return _read(core, id)


@router.post("/{id}/cancel")
def cancel_search(id: str, core: Parts) -> SearchAnswer:
    """Start nothing more; running trials finish."""
    with take_turn(core, id) as turn:
        cancel(turn)
    return _read(core, id)


@router.post("/{id}/kill")
def kill_search(id: str, core: Parts) -> SearchAnswer:
    """Start nothing more; running trials are told to end at their next word."""
    with take_turn(core, id) as turn:
        kill(turn)
    return _read(core, id)


@router.post("/{id}/fork", status_code=status.HTTP_201_CREATED)
def fork_search(
    id: str,
    core: Parts,
    response: Response,
    body: Edits | None = None,
    idempotency_key: IdempotencyKey = None,
) -> SearchAnswer:
    """Submit a search anew, with edits of its document."""
    edits = {} if body is None else body.given
    forked = fork(core, id, edits, key=idempotency_key)
    response.headers["Location"] = f"/v1/searches/{forked}"
    return _read(core, forked)


@router.get("/{id}/best")
def read_best(id: str, session: Reader) -> BestAnswer:
    """Read the ranking, and what may be claimed."""
    return ranking.best(session, searches.get(session, id))


@router.get("/{id}/best/config")
def read_best_config(
    id: str,
    session: Reader,
    unconfirmed: Annotated[
        bool, Query(description="The best of the search though it has not been confirmed.")
    ] = False,
) -> dict[str, Any]:
    """Read the best activation config. Until a confirmation it is the original network's."""
    search = searches.get(session, id)
    return dict(to_data(choose(session, search, unconfirmed=unconfirmed).config))


def _read(core: Core, search_id: str) -> SearchAnswer:
    with core.database.read() as session:
        return ranking.answers(session, [searches.get(session, search_id)])[0]
