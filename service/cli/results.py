"""Commands on the results of a search: best and bundle."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.contract import SHAPES, WEIGHTS
from search_space.spec import to_data
from service.cli.common import (
    REFUSED,
    CommandError,
    Id,
    Json,
    Token,
    Url,
    console,
    print_error,
    print_json,
    print_line,
    write_file,
)
from service.cli.tables import claim_text, ranking_table
from service.client.client import Client, ClientError
from service.schemas.results import BestAnswer
from service.schemas.searches import SearchAnswer

CONFIG, PLOT = "activations.json", "shapes.svg"

_NOT_FOUND = 404

Unconfirmed = Annotated[
    bool,
    typer.Option("--unconfirmed", help="Take the best so far, even though it is not confirmed."),
]


def best(
    id: Id,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to save the config, the weights and the plot to."),
    ] = None,
    unconfirmed: Unconfirmed = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Print the ranking and its statistical claim; save the best.

    Without --output nothing is saved. While nothing is confirmed, the original network's config
    is saved, unless --unconfirmed asks for the best so far.
    """
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
        for line in saved_lines(saved, found, unconfirmed=unconfirmed):
            print_line(line)


def bundle(
    id: Id,
    output: Annotated[
        Path | None, typer.Option(help="The zip file to write. Default: ID.zip.")
    ] = None,
    unconfirmed: Unconfirmed = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Save the best config, weights, code and report as a zip file."""
    path = output or Path(f"{id}.zip")
    with Client(url, token) as client:
        write_file(path, client.bundle(id, unconfirmed=unconfirmed))
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    if as_json:
        print_json({"saved": str(path), "manifest": manifest})
        return
    print_line(f"Saved {path}: {manifest['claim']}")
    for name, entry in manifest["files"].items():
        print_line(f"  {name}, {entry['size']} bytes")
    for name, reason in manifest["left_out"].items():
        print_line(f"  without {name}: {reason}")


def print_ranking(search: SearchAnswer, found: BestAnswer) -> None:
    """Print the ranking, and below it the claim that it supports."""
    sites = [] if search.plan is None else [site["id"] for site in search.plan["sites"]]
    console().print(ranking_table(found, sites))
    print_line(claim_text(found))


def save(client: Client, search: SearchAnswer, folder: Path, *, unconfirmed: bool) -> list[Path]:
    """Save the best config and, if a trial trained it, its weights and the plot of its shapes."""
    config = client.best_config(search.id, unconfirmed=unconfirmed)
    trial = config.provenance.get("trial")
    files: dict[str, bytes] = {CONFIG: _indented(to_data(config))}
    if trial is not None:
        weights, shapes = (_artifact(client, trial, name) for name in (WEIGHTS, SHAPES))
        if weights is not None:
            files[WEIGHTS] = weights
        if shapes is not None:
            # Loads the plotting code, which no other command needs.
            from service.insight.shape_plots import draw_shapes

            files[PLOT] = draw_shapes(shapes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot save to {folder}: {error}", REFUSED) from None
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in files]


def saved_lines(saved: Sequence[Path], found: BestAnswer, *, unconfirmed: bool) -> list[str]:
    """Say which config was saved, and name the files."""
    what = "the best so far, unconfirmed"
    if found.status == "confirmed":
        what = "the confirmed winner"
    elif not unconfirmed:
        what = (
            "the original network's config, since nothing is confirmed; "
            "--unconfirmed takes the best so far"
        )
    return [f"Saved {what}:", *(f"  {path}" for path in saved)]


def _artifact(client: Client, trial: str, name: str) -> bytes | None:
    try:
        return client.artifact(trial, name)
    except ClientError as error:
        if error.status != _NOT_FOUND:
            raise
        print_error(f"actsearch: trial {trial} stored no {name}")
        return None


def _indented(data: Any) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()
