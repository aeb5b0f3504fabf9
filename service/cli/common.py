"""What the commands share: their options, where they print, how they refuse."""

import sys
from typing import Annotated, Any

import typer
from pydantic_core import to_json
from rich.console import Console

from service.client.client import Client

FAILED, REFUSED = 1, 2
"""Exit codes: it went wrong; the request itself was wrong or refused."""

_WIDTH_OF_PIPES = 160

Url = Annotated[
    str | None, typer.Option(envvar="ACTSEARCH_URL", help="The service; else this machine's own.")
]
Token = Annotated[str | None, typer.Option(envvar="ACTSEARCH_TOKEN", help="Its token.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a search.")]


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what would be right."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text, code)
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return self.text


def console(*, stderr: bool = False) -> Console:
    """Return where to print: in colour on a terminal, plain and wide elsewhere."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_PIPES
    return Console(stderr=stderr, highlight=False, markup=False, width=width)


def say(text: str) -> None:
    console().print(text, soft_wrap=True)


def complain(text: str) -> None:
    console(stderr=True).print(text, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print models and plain data as one line of JSON."""
    sys.stdout.write(to_json(data).decode() + "\n")
    sys.stdout.flush()


def page_of(client: Client, id: str) -> str:
    """Return where the page shows a search."""
    return f"{client.url}/#/search/{id}"
