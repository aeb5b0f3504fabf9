"""What the commands share: options, output, errors."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_json
from rich.console import Console

from service.client.client import Client

FAILED, REFUSED = 1, 2
"""Exit codes: the command failed; the request was wrong, or the service refused it."""

_WIDTH_OF_PIPES = 160

Url = Annotated[
    str | None,
    typer.Option(
        envvar="ACTSEARCH_URL", help="URL of the service. Default: http://127.0.0.1:8000."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="ACTSEARCH_TOKEN", help="Token, if the service requires one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a search.")]
SearchFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A search in YAML or JSON; - reads standard input.")
]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data sets. Default: data.")]
TaskList = Annotated[
    Path | None,
    typer.Option("--tasks", help="tasks.toml, the file that names your own tasks."),
]
Load = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Python file that defines tasks. Repeatable."),
]


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


def print_line(text: str) -> None:
    """Print to standard output."""
    console().print(text, soft_wrap=True)


def print_error(text: str) -> None:
    """Print to standard error."""
    console(stderr=True).print(text, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print models and plain data as one line of JSON."""
    sys.stdout.write(to_json(data).decode() + "\n")
    sys.stdout.flush()


def page_of(client: Client, id: str) -> str:
    """Return the URL of a search's page."""
    return f"{client.url}/#/search/{id}"


def search_source(file: str) -> str | Path:
    """Return the text of standard input for `-`, else the file."""
    return sys.stdin.read() if file == "-" else Path(file)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user has named."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot save to {path}: {error}", REFUSED) from None
