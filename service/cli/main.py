"""Builds the command from its parts, and turns errors into messages and exit codes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

from service.cli import (
    changes,
    doctor,
    logs,
    preview,
    processes,
    queue,
    results,
    retrain,
    searches,
    shapes,
    tokens,
)
from service.cli.common import FAILED, REFUSED, CommandError, print_error
from service.client.client import ClientError

# In the order of the help text: start, search, results, networks and activations, upkeep.
_COMMANDS: Sequence[tuple[str, Callable[..., None]]] = (
    ("up", processes.up),
    ("serve", processes.serve),
    ("worker", processes.worker),
    ("preview", preview.preview),
    ("submit", searches.submit),
    ("list", searches.list_searches),
    ("show", searches.show),
    ("watch", searches.watch),
    ("queue", queue.queue),
    ("pause", searches.pause),
    ("resume", searches.resume),
    ("cancel", searches.cancel),
    ("kill", changes.kill),
    ("change", changes.change),
    ("fork", changes.fork),
    ("add", changes.add),
    ("upload", searches.upload),
    ("delete", changes.delete),
    ("best", results.best),
    ("bundle", results.bundle),
    ("shapes", shapes.shapes),
    ("logs", logs.logs),
    ("retrain", retrain.retrain),
    ("rerun", processes.rerun),
    ("sites", processes.sites),
    ("activations", searches.activations),
    ("check", processes.check),
    ("curve", processes.curve),
    ("doctor", doctor.doctor),
    ("simulate", processes.simulate),
)
# Another program reads their options, and prints their help.
_PASSED_ON = {"worker", "rerun", "sites", "check", "curve", "simulate"}
_PASS_ALL = {"allow_extra_args": True, "ignore_unknown_options": True}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with 0 (done), 1 (failed) or 2 (wrong use, or refused)."""
    try:
        make_app()(args=None if arguments is None else list(arguments), prog_name="actsearch")
    except ClientError as error:
        for line in _error_lines(error):
            print_error(line)
        refused = error.status is not None and error.status < 500
        sys.exit(REFUSED if refused else FAILED)
    except CommandError as error:
        print_error(f"actsearch: {error}")
        sys.exit(error.code)
    except BrokenPipeError:
        # The reader has closed the pipe. Python would fail again when it flushes at exit.
        sys.stdout = None
        sys.exit(FAILED)


def make_app() -> typer.Typer:
    """Return the command with all its subcommands."""
    app = typer.Typer(
        name="actsearch",
        help=(
            "Find the best activation function for every layer of a network.\n\n"
            "A search tries candidates: one activation function for each site of the network. "
            "Workers train each candidate in a trial; the best ones are confirmed on new seeds.\n\n"
            "First steps: actsearch up in one terminal; in another one, actsearch submit "
            "search.yaml, actsearch watch ID, actsearch best ID."
        ),
        epilog=(
            "Exit codes: 0 done; 1 failed: the service did not answer, or the watched search did "
            "not complete; 2 wrong use, or the service refused."
        ),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name, command in _COMMANDS:
        passes = name in _PASSED_ON
        settings = _PASS_ALL if passes else None
        app.command(name, context_settings=settings, add_help_option=not passes)(command)
    app.add_typer(tokens.make_app(), name="token")
    return app


def _error_lines(error: ClientError) -> Iterator[str]:
    """Yield what to print: the detail, or one line for each field at fault."""
    if not error.errors:
        yield f"actsearch: {error.detail}"
        return
    yield "actsearch: the service refused:"
    for fault in error.errors:
        yield f"  {fault.get('field', '?')}: {_message(fault)}"


def _message(fault: Mapping[str, Any]) -> str:
    message, given = str(fault.get("message", "")), fault.get("given")
    return message if given is None or repr(given) in message else f"{message}, got {given!r}"
