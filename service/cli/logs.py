"""The command that prints the log of a trial."""

import sys
from typing import Annotated

import typer

from service.cli.common import Json, Token, Url, print_json
from service.client.client import Client


def logs(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Id of a trial.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until the trial has ended.")
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", "-n", metavar="N", min=1, max=10_000, help="Only the last N lines."),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Attempt, counted from 1. Default: the last.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Print the output of a trial.

    With --json, each line is one piece of the log.
    """
    with Client(url, token) as client:
        for piece in client.log_pieces(trial, attempt=attempt, tail=tail, follow=follow):
            if as_json:
                print_json(piece)
                continue
            sys.stdout.write(piece.text)
            sys.stdout.flush()
