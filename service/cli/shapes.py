"""The command that shows what a network's activations have become."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import (
    REFUSED,
    CommandError,
    Id,
    Json,
    Token,
    Url,
    console,
    print_json,
    say,
)
from service.cli.tables import shapes_table
from service.client.client import Client
from service.schemas.trials import ShapesAnswer


def shapes(
    id: Id,
    trial: Annotated[
        str | None, typer.Option(help="Default: the confirmed winner, else the best so far.")
    ] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="Default: the end.")] = None,
    output: Annotated[Path | None, typer.Option(help="Draw them into this SVG file.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show the functions that a trial has learned, and which classic one each is nearest to."""
    with Client(url, token) as client:
        found = client.shapes(id, trial, epoch)
    if output is not None:
        _draw(found, output)
    if as_json:
        print_json(found)
        return
    console().print(shapes_table(found))
    if output is not None:
        say(f"Saved {output}")


def _draw(found: ShapesAnswer, path: Path) -> None:
    # What draws is loaded here and for no other call.
    from service.insight.shape_plots import draw_shapes

    try:
        path.write_bytes(draw_shapes(found.model_dump_json().encode()))
    except OSError as error:
        raise CommandError(f"cannot save to {path}: {error}", REFUSED) from None
