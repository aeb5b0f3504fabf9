"""Commands on searches: submit, watch, show, list, pause, resume, cancel, and what they may use."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import (
    FAILED,
    Id,
    Json,
    SearchFile,
    Token,
    Url,
    console,
    page_of,
    print_json,
    print_line,
    search_source,
)
from service.cli.tables import activations_table, search_table, searches_table
from service.client.client import Client
from service.client.progress import watch as watch_updates
from service.schemas.searches import SearchAnswer
from service.schemas.states import SearchState

_WATCHED = {"id", "name", "state", "reason", "progress", "best", "luck"}
"""The keys of a search that `watch --json` prints after each change."""


def submit(file: SearchFile, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Submit a search and print its id."""
    with Client(url, token) as client:
        search = client.submit(search_source(file))
        if as_json:
            print_json(search)
            return
        print_line(search.id)
        print_line(f"see {page_of(client, search.id)} or: actsearch watch {search.id}")


def watch(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show the progress of a search until it ends or pauses.

    The exit code is 0 only if it has completed.
    """
    with Client(url, token) as client:
        if as_json:
            for search in client.updates(id):
                print_json(search.model_dump(mode="json", include=_WATCHED))
        else:
            search = watch_updates(client.updates(id), console())
            state = search.state.value
            print_line(f"{state}: {search.reason}" if search.reason else state)
    if search.state != SearchState.COMPLETED:
        raise typer.Exit(FAILED)


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights: a safetensors file.")],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Store weights that a search starts from; print their SHA-256.

    The search names them so: `start: {weights: SHA256}`.
    """
    with Client(url, token) as client:
        sha256 = client.upload(file)
    if as_json:
        print_json({"sha256": sha256})
    else:
        print_line(sha256)


def show(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Print the state, task, choices, sites and trials of a search."""
    with Client(url, token) as client:
        search = client.get(id)
        if as_json:
            print_json(search)
        else:
            console().print(search_table(search, page_of(client, id)))


def list_searches(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List searches, newest first."""
    with Client(url, token) as client:
        found = list(client.list())
    if as_json:
        print_json(found)
    elif found:
        console().print(searches_table(found))
    else:
        print_line("no search yet; submit one: actsearch submit FILE")


def pause(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Pause a search: running trials save a checkpoint and wait."""
    with Client(url, token) as client:
        print_state(client.pause(id), as_json=as_json)


def resume(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Resume a paused search."""
    with Client(url, token) as client:
        print_state(client.resume(id), as_json=as_json)


def cancel(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Cancel a search: no trial starts; running trials finish."""
    with Client(url, token) as client:
        print_state(client.cancel(id), as_json=as_json)


def activations(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the activation functions that a search can try."""
    with Client(url, token) as client:
        found = client.activations()
    if as_json:
        print_json(found)
    else:
        console().print(activations_table(found))


def print_state(search: SearchAnswer, *, as_json: bool) -> None:
    """Print the new state of a search."""
    if as_json:
        print_json(search)
        return
    reason = f", {search.reason}" if search.reason else ""
    print_line(f"{search.id}: {search.state.value}{reason}")
