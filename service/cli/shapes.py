"""The command that shows the activation functions that a trial has learned."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.common import Id, Json, Token, Url, console, print_json, print_line, write_file
from service.cli.tables import shapes_table
from service.client.client import Client
from service.schemas.trials import ShapesAnswer


def shapes(
    id: Id,
    trial: Annotated[
        str | None,
        typer.Option(help="Id of a trial. Default: the confirmed winner, else the best so far."),
    ] = None,
    epoch: Annotated[
        int | None,
        typer.Option(min=1, help="Epoch after which to show them. Default: the end of the trial."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="SVG file to draw them to.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List the activation functions that a trial has learned.

    Each is shown with the classic function that is nearest to it.
    """
    with Client(url, token) as client:
        found = client.shapes(id, trial, epoch)
    if output is not None:
        _draw(found, output)
    if as_json:
        print_json(found)
        return
    console().print(shapes_table(found))
    if output is not None:
        print_line(f"Saved {output}")


def _draw(found: ShapesAnswer, path: Path) -> None:
    # Loads the plotting code, which no other command needs.
    from service.insight.shape_plots import draw_shapes

    write_file(path, draw_shapes(found.model_dump_json().encode()))
