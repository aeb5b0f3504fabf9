"""The command that prints what trials have printed."""

import sys
from typing import Annotated

import typer

from service.cli.common import Json, Token, Url, print_json
from service.client.client import Client


def logs(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Id of a trial.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the trial has ended.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=1, max=10_000, help="The last so many lines.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="An earlier attempt, counted from 1.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Print what a trial has printed; as JSON, a line for each piece of it."""
    with Client(url, token) as client:
        for piece in client.log_pieces(trial, attempt=attempt, tail=tail, follow=follow):
            if as_json:
                print_json(piece)
                continue
            sys.stdout.write(piece.text)
            sys.stdout.flush()
