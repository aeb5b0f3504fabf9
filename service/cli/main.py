"""Puts the command together, and turns its errors into messages and exit codes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

from service.cli import (
    changes,
    doctor,
    logs,
    outlook,
    processes,
    retraining,
    searches,
    shapes,
    tokens,
)
from service.cli.common import FAILED, REFUSED, CommandError, complain
from service.client.client import ClientError

_COMMANDS: Sequence[Callable[..., None]] = (
    processes.up,
    processes.serve,
    searches.submit,
    searches.watch,
    searches.best,
    searches.bundle,
    retraining.retrain,
    shapes.shapes,
    searches.upload,
    searches.show,
    searches.pause,
    searches.resume,
    searches.cancel,
    *changes.COMMANDS,
    *outlook.COMMANDS,
    searches.activations,
    logs.logs,
    doctor.doctor,
)
_PASSED_ON: Sequence[Callable[..., None]] = (
    processes.worker,
    processes.rerun,
    processes.simulate,
    processes.sites,
    processes.check,
    processes.curve,
)
_CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 failed, 2 wrong or refused."""
    try:
        make_app()(args=None if arguments is None else list(arguments), prog_name="actsearch")
    except ClientError as error:
        for line in _explained(error):
            complain(line)
        refused = error.status is not None and error.status < 500
        sys.exit(REFUSED if refused else FAILED)
    except CommandError as error:
        complain(f"actsearch: {error}")
        sys.exit(error.code)
    except BrokenPipeError:
        # Whoever reads has seen enough; what is still buffered has nowhere to go.
        sys.stdout = None
        sys.exit(FAILED)


def make_app() -> typer.Typer:
    app = typer.Typer(
        name="actsearch",
        help="Find the best activation function for every layer of a network.",
        epilog=(
            "Exit codes: 0 done; 1 failed: nobody answered, or the search that was watched did "
            "not complete; 2 wrong use, or the service refused."
        ),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for command in _COMMANDS:
        app.command()(command)
    for command in _PASSED_ON:
        app.command(context_settings=_CONTEXT, add_help_option=False)(command)
    app.command("list")(searches.list_searches)
    app.add_typer(tokens.make_app(), name="token")
    return app


def _explained(error: ClientError) -> Iterator[str]:
    """Yield what to print: where fields are at fault, one line for each."""
    if not error.errors:
        yield f"actsearch: {error.detail}"
        return
    yield "actsearch: the service refused:"
    for fault in error.errors:
        yield f"  {fault.get('field', '?')}: {_message(fault)}"


def _message(fault: Mapping[str, Any]) -> str:
    message, given = str(fault.get("message", "")), fault.get("given")
    return message if given is None or repr(given) in message else f"{message}, got {given!r}"
