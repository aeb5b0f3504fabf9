"""Writes the reference of the command from what each of its parts prints as its help."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.core import TyperGroup

from service.cli.main import make_app

# Typer brings a click of its own, whose types are private.
Command: TypeAlias = Any
Context: TypeAlias = Any
PAGE = "reference/command-line.md"
WIDTH = 92


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content="\n".join(_page())))
    return files


def _page() -> Iterator[str]:
    app = typer.main.get_command(make_app())
    context = _context(app, "actsearch", None)
    yield "# The command line\n"
    yield f"```text\n{app.get_help(context)}\n```\n"
    yield from _commands(app, context)


def _commands(group: Command, context: Context) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        inner = _context(command, name, context)
        if isinstance(command, TyperGroup):
            yield from _commands(command, inner)
            continue
        yield f"## {inner.command_path}\n"
        # Some are passed on to another program, which prints its own help.
        passed_on = command.context_settings.get("ignore_unknown_options", False)
        text = _printed_help(name) if passed_on else command.get_help(inner)
        yield f"```text\n{text.strip()}\n```\n"


def _context(command: Command, name: str, parent: Context | None) -> Context:
    return command.context_class(
        command, parent=parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH
    )


def _printed_help(name: str) -> str:
    own = {key: value for key, value in os.environ.items() if not key.startswith("ACTSEARCH_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", name, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=own | {"COLUMNS": str(WIDTH), "NO_COLOR": "1"},
    ).stdout
