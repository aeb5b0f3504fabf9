"""Commands that start a process: the service, a worker, and programs that need torch."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from service.cli.common import REFUSED, CommandError, DataRoot, Json, Load, TaskList

if TYPE_CHECKING:
    from service.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on; 0: any free one. Default: 8000.")
]
Home = Annotated[
    Path | None, typer.Option(help="Folder of database and files. Default: actsearch-home.")
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL. Default: SQLite in the home folder.")
]
WithStdin = Annotated[
    bool, typer.Option("--exit-with-stdin", hidden=True, help="Stop when standard input ends.")
]


def up(
    host: Host = None,
    port: Port = None,
    home: Home = None,
    data_root: DataRoot = None,
    slots: Annotated[str | None, typer.Option(help="Trials that run at once, or auto.")] = None,
    database_url: DatabaseUrl = None,
    tasks: TaskList = None,
    load: Load = None,
    as_json: Json = False,
    exit_with_stdin: WithStdin = False,
) -> None:
    """Run the service and a worker on this machine, until Ctrl-C.

    Each option is also an environment variable, such as ACTSEARCH_PORT for --port.
    """
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise CommandError(
            "a worker needs torch, which is not installed here; install it with "
            "`pip install 'activation-search[worker]'` (in a clone: `pip install -e '.[worker]'`), "
            "or run the service alone with `actsearch serve`"
        )
    settings = read_settings(host=host, port=port, home=home, database_url=database_url)
    options = {"--data-root": data_root, "--slots": slots, "--tasks": tasks}
    given = [
        str(part) for name, value in options.items() if value is not None for part in (name, value)
    ]
    given += [part for file in load or [] for part in ("--load", str(file))]
    _run(settings, worker=given, as_json=as_json, exit_with_stdin=exit_with_stdin)


def serve(
    host: Host = None,
    port: Port = None,
    home: Home = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
    exit_with_stdin: WithStdin = False,
) -> None:
    """Run the service alone; `actsearch worker` adds workers.

    Each option is also an environment variable, such as ACTSEARCH_PORT for --port.
    """
    settings = read_settings(host=host, port=port, home=home, database_url=database_url)
    _run(settings, worker=None, as_json=as_json, exit_with_stdin=exit_with_stdin)


def worker(context: typer.Context) -> None:
    """Run a worker, which trains trials for a service."""
    _become("workers", context.args)


def rerun(context: typer.Context) -> None:
    """Train a stored trial again and compare the results."""
    _become("workers.commands.rerun", context.args)


def simulate(context: typer.Context) -> None:
    """Run simulated workers, which report values from a table."""
    _replace_by("workers.simulation", context.args)


def sites(context: typer.Context) -> None:
    """List the sites of a network: the activations to replace."""
    _become("search_space", ["sites", *context.args])


def check(context: typer.Context) -> None:
    """Test the activations that you define in a Python file."""
    _become("search_space", ["check", *context.args])


def curve(context: typer.Context) -> None:
    """Plot activations and their derivatives to a file."""
    _become("search_space", ["curve", *context.args])


def read_settings(**given: Any) -> "Settings":
    """Return the settings from options and environment.

    Raises:
        CommandError: If a setting has no valid value.
    """
    # pydantic-settings takes long to load, and most commands need no settings.
    from service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))} (ACTSEARCH_{str(one['loc'][0]).upper()}): "
            f"{one['msg']}, got {one['input']!r}"
            for one in error.errors()
        )
        raise CommandError(f"bad settings: {faults}", REFUSED) from None


def _run(
    settings: "Settings", *, worker: Sequence[str] | None, as_json: bool, exit_with_stdin: bool
) -> None:
    # Loads FastAPI, SQLAlchemy and Optuna, which no other command needs.
    from service.cli.server import run

    run(settings, worker=worker, as_json=as_json, exit_with_stdin=exit_with_stdin)


def _become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a module that needs torch, which the service may not import."""
    need_torch()
    _replace_by(module, arguments)


def _replace_by(module: str, arguments: Sequence[str]) -> NoReturn:
    os.execv(sys.executable, command_of(module, arguments))


def need_torch() -> None:
    """Raise a CommandError if torch is not installed."""
    if find_spec("torch") is None:
        raise CommandError(
            "this needs torch, which is not installed here; install it with "
            "`pip install 'activation-search[worker]'` (in a clone: `pip install -e '.[worker]'`)"
        )


def command_of(module: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs one of our modules."""
    # -P: else a folder in the working directory could take the place of a package of ours.
    return [sys.executable, "-P", "-m", module, *arguments]
