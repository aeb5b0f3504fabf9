"""Commands that start processes: the service, a worker, and what needs torch."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from service.cli.common import REFUSED, CommandError, Json

if TYPE_CHECKING:
    from service.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (8000); 0: a free one.")]
Home = Annotated[Path | None, typer.Option(help="Folder of all that is kept (actsearch-home).")]
DatabaseUrl = Annotated[str | None, typer.Option(help="SQLAlchemy URL; else SQLite in the home.")]
WithStdin = Annotated[
    bool, typer.Option("--exit-with-stdin", hidden=True, help="Stop when standard input ends.")
]


def up(
    host: Host = None,
    port: Port = None,
    home: Home = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets (data).")] = None,
    slots: Annotated[str | None, typer.Option(help="Trials at once, or auto.")] = None,
    database_url: DatabaseUrl = None,
    tasks: Annotated[Path | None, typer.Option(help="File that names own tasks.")] = None,
    load: Annotated[
        list[Path] | None, typer.Option(help="Python file that defines tasks; may be repeated.")
    ] = None,
    as_json: Json = False,
    exit_with_stdin: WithStdin = False,
) -> None:
    """Run the service and a worker on this machine."""
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
    """Run the service alone; workers come with `actsearch worker --url URL`."""
    settings = read_settings(host=host, port=port, home=home, database_url=database_url)
    _run(settings, worker=None, as_json=as_json, exit_with_stdin=exit_with_stdin)


def worker(context: typer.Context) -> None:
    """Train trials for a service; `actsearch worker --help` lists the options."""
    _become("workers", context.args)


def rerun(context: typer.Context) -> None:
    """Train a trial again from its stored document, and compare what comes out."""
    _become("workers.commands.rerun", context.args)


def simulate(context: typer.Context) -> None:
    """Run workers that train nothing and answer from a table; `--help` lists the options."""
    _replace_by("workers.simulation", context.args)


def sites(context: typer.Context) -> None:
    """List the sites of a network: a name, or FILE.py:build."""
    _become("search_space", ["sites", *context.args])


def check(context: typer.Context) -> None:
    """Put the activations of MY_ACTIVATION.py to the contract that all of the catalogue meet."""
    _become("search_space", ["check", *context.args])


def curve(context: typer.Context) -> None:
    """Draw activations by name, with their derivatives, into a file."""
    _become("search_space", ["curve", *context.args])


def read_settings(**given: Any) -> "Settings":
    """Return the settings of options and environment, or refuse what is wrong in them."""
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
    # Everything of the service is loaded here and for no other command.
    from service.cli.running import run

    run(settings, worker=worker, as_json=as_json, exit_with_stdin=exit_with_stdin)


def _become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by a module that it may not import, and that needs torch."""
    need_torch()
    _replace_by(module, arguments)


def _replace_by(module: str, arguments: Sequence[str]) -> NoReturn:
    os.execv(sys.executable, command_of(module, arguments))


def need_torch() -> None:
    """Raise where what trains cannot be started."""
    if find_spec("torch") is None:
        raise CommandError(
            "this needs torch, which is not installed here; install it with "
            "`pip install 'activation-search[worker]'` (in a clone: `pip install -e '.[worker]'`)"
        )


def command_of(module: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs a module of ours."""
    # -P: a folder of the same name where the user stands is not ours.
    return [sys.executable, "-P", "-m", module, *arguments]
