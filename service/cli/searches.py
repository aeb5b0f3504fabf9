"""Commands that ask a service: submit, watch, best and the rest of a search's life."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.contract import SHAPES, WEIGHTS
from search_space.spec import to_data
from service.cli.common import (
    FAILED,
    REFUSED,
    CommandError,
    Id,
    Json,
    Token,
    Url,
    complain,
    console,
    page_of,
    print_json,
    say,
)
from service.cli.tables import (
    activations_table,
    claim_text,
    ranking_table,
    search_table,
    searches_table,
)
from service.client.client import Client, ClientError
from service.client.progress import watch as watch_search
from service.schemas.results import BestAnswer
from service.schemas.searches import SearchAnswer
from service.schemas.states import SearchState

CONFIG, PICTURE = "activations.json", "shapes.svg"

_NOT_FOUND = 404
_SHORT = {"id", "name", "state", "reason", "progress", "best", "luck"}


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The search in YAML or JSON; - : stdin.")
    ],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Submit a search."""
    with Client(url, token) as client:
        search = client.submit(sys.stdin.read() if file == "-" else Path(file))
        if as_json:
            print_json(search)
            return
        say(search.id)
        say(f"see {page_of(client, search.id)} or: actsearch watch {search.id}")


def watch(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show a search while it runs; exit code 0 when it completes."""
    with Client(url, token) as client:
        if as_json:
            for search in client.updates(id):
                print_json(search.model_dump(mode="json", include=_SHORT))
        else:
            search = watch_search(client.updates(id), console())
            say(f"{search.state.value}: {search.reason}" if search.reason else search.state.value)
    if search.state != SearchState.COMPLETED:
        raise typer.Exit(FAILED)


def best(
    id: Id,
    output: Annotated[
        Path | None, typer.Option(help="Save the config, the weights and the picture here.")
    ] = None,
    unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Take the best though it is not confirmed.")
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Print the ranking and what may be claimed; save the best."""
    with Client(url, token) as client:
        search, found = client.get(id), client.best(id)
        saved = None
        if output is not None:
            saved = save(client, search, output, unconfirmed=unconfirmed)
    if as_json:
        more = {} if saved is None else {"saved": [str(path) for path in saved]}
        print_json(found.model_dump(mode="json") | more)
        return
    print_ranking(search, found)
    if saved is not None:
        for line in saved_text(saved, found, unconfirmed=unconfirmed):
            say(line)


def bundle(
    id: Id,
    output: Annotated[
        Path | None, typer.Option(help="The zip file to write; default: the id and .zip.")
    ] = None,
    unconfirmed: Annotated[
        bool, typer.Option("--unconfirmed", help="Take the best though it is not confirmed.")
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Save all that makes the best config usable: weights, code, report, parts of a paper."""
    path = output or Path(f"{id}.zip")
    with Client(url, token) as client:
        content = client.bundle(id, unconfirmed=unconfirmed)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot save to {path}: {error}", REFUSED) from None
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    if as_json:
        print_json({"saved": str(path), "manifest": manifest})
        return
    say(f"Saved {path}: {manifest['claim']}")
    for name, entry in manifest["files"].items():
        say(f"  {name}, {entry['size']} bytes")
    for name, reason in manifest["left_out"].items():
        say(f"  without {name}: {reason}")


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A safetensors file.")],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Store weights that a search shall start from, and print the sha256 that names them."""
    with Client(url, token) as client:
        sha256 = client.upload(file)
    if as_json:
        print_json({"sha256": sha256})
    else:
        say(sha256)


def show(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Describe a search."""
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
        say("no search yet; submit one: actsearch submit FILE")


def pause(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Pause a search: running trials checkpoint and wait."""
    with Client(url, token) as client:
        print_state(client.pause(id), as_json=as_json)


def resume(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Go on with a paused search."""
    with Client(url, token) as client:
        print_state(client.resume(id), as_json=as_json)


def cancel(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Cancel a search: nothing more starts, running trials finish."""
    with Client(url, token) as client:
        print_state(client.cancel(id), as_json=as_json)


def activations(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the activations that may be chosen."""
    with Client(url, token) as client:
        found = client.activations()
    if as_json:
        print_json(found)
    else:
        console().print(activations_table(found))


def print_ranking(search: SearchAnswer, found: BestAnswer) -> None:
    """Print the ranking, and below it what may be claimed."""
    sites = [] if search.plan is None else [site["id"] for site in search.plan["sites"]]
    console().print(ranking_table(found, sites))
    say(claim_text(found))


def save(client: Client, search: SearchAnswer, folder: Path, *, unconfirmed: bool) -> list[Path]:
    """Save the best config and, where a trial stands behind it, its weights and its picture."""
    config = client.best_config(search.id, unconfirmed=unconfirmed)
    trial = config.provenance.get("trial")
    files: dict[str, bytes] = {CONFIG: _pretty(to_data(config))}
    if trial is not None:
        weights, shapes = (_artifact(client, trial, name) for name in (WEIGHTS, SHAPES))
        if weights is not None:
            files[WEIGHTS] = weights
        if shapes is not None:
            from service.insight.shape_plots import draw_shapes

            files[PICTURE] = draw_shapes(shapes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot save to {folder}: {error}", REFUSED) from None
    return [folder / name for name in files]


def saved_text(saved: list[Path], found: BestAnswer, *, unconfirmed: bool) -> list[str]:
    """Say what was saved, and what it is."""
    what = "the best so far, unconfirmed"
    if found.status == "confirmed":
        what = "the confirmed winner"
    elif not unconfirmed:
        what = (
            "the original network's config, since nothing is confirmed; "
            "--unconfirmed takes the best so far"
        )
    return [f"Saved {what}:", *(f"  {path}" for path in saved)]


def print_state(search: SearchAnswer, *, as_json: bool) -> None:
    """Print the state of a search that was acted on."""
    if as_json:
        print_json(search)
    else:
        say(f"{search.id}: {search.state.value}" + (f", {search.reason}" if search.reason else ""))


def _artifact(client: Client, trial: str, name: str) -> bytes | None:
    try:
        return client.artifact(trial, name)
    except ClientError as error:
        if error.status != _NOT_FOUND:
            raise
        complain(f"actsearch: trial {trial} stored no {name}")
        return None


def _pretty(data: Any) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()
