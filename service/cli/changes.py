"""Commands that change a search: change, kill, fork, delete, add."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.common import REFUSED, CommandError, Id, Json, Token, Url, print_json, print_line
from service.cli.searches import print_state
from service.client.client import Client
from service.schemas.document_text import (
    DocumentError,
    parse_document,
    read_text,
    require_object,
)

Trials = Annotated[int | None, typer.Option(help="Proposed candidates in total.")]
Hours = Annotated[str | None, typer.Option(help="Hours in total, or none for no limit.")]
GpuHours = Annotated[str | None, typer.Option(help="GPU hours in total, or none for no limit.")]


def change(
    id: Id,
    trials: Trials = None,
    hours: Hours = None,
    gpu_hours: GpuHours = None,
    failures: Annotated[int | None, typer.Option(help="Failures in a row that pause it.")] = None,
    parallel: Annotated[int | None, typer.Option(help="Trials that run at once.")] = None,
    priority: Annotated[
        int | None, typer.Option(help="Searches of higher priority get workers first.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change the budget, priority or name of a search.

    A completed search with a larger budget runs again.
    """
    budget = {"trials": trials, "failures": failures}
    budget = {key: value for key, value in budget.items() if value is not None}
    limits = {"hours": hours, "gpu_hours": gpu_hours}
    given = {key: _limit(key, value) for key, value in limits.items() if value is not None}
    others = {"parallel": parallel, "priority": priority, "name": name}
    changes: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    if budget or given:
        changes["budget"] = budget | given
    if not changes:
        raise CommandError(
            "nothing to change; `actsearch change --help` lists the options", REFUSED
        )
    with Client(url, token) as client:
        print_state(client.change(id, **changes), as_json=as_json)


def kill(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Kill a search: running trials end at their next report."""
    with Client(url, token) as client:
        print_state(client.kill(id), as_json=as_json)


def fork(
    id: Id,
    edits: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Edits such as budget.trials=80 sampler.seed=1."),
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="Edits in YAML or JSON; - reads standard input.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Submit a copy of a search, with edits, and print its id."""
    changes = {} if file is None else _read_object(file)
    for edit in edits or []:
        _apply_edit(changes, edit)
    with Client(url, token) as client:
        forked = client.fork(id, changes)
        if as_json:
            print_json(forked)
        else:
            print_line(forked.id)


def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of searches.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Delete searches, their trials and files. This cannot be undone."""
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm(f"delete {', '.join(ids)} with all trials and files?", abort=True)
    with Client(url, token) as client:
        for id in ids:
            client.delete(id)
            if not as_json:
                print_line(f"{id}: deleted")
    if as_json:
        print_json({"deleted": ids})


def add(
    id: Id,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A candidate in YAML or JSON; - reads standard input."),
    ],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Add your own candidate to a search as a trial.

    FILE holds `sites: {SITE: ACTIVATION}`, or is a saved activations.json.
    """
    candidate = _read_object(file)
    # A saved config holds its candidate under this key, beside plan and provenance.
    candidate = candidate.get("candidate", candidate)
    with Client(url, token) as client:
        trial = client.add_trial(id, candidate)
    if as_json:
        print_json(trial)
    else:
        print_line(f"{trial.id}: trial {trial.number} of {id} waits")


def _limit(name: str, text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        option = name.replace("_", "-")
        raise CommandError(f"--{option} must be a number or none, got {text!r}", REFUSED) from None


def _apply_edit(document: dict[str, Any], edit: str) -> None:
    """Set the value of one `a.b=value` in a document."""
    path, sign, text = edit.partition("=")
    if not sign or not all(parts := path.split(".")):
        raise CommandError(f"an edit is KEY=VALUE, such as budget.trials=80; got {edit!r}", REFUSED)
    target = document
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise CommandError(f"{edit!r} and another edit contradict each other", REFUSED)
    try:
        target[parts[-1]] = parse_document(text)
    except DocumentError as error:
        raise CommandError(f"the value of {path} {error}", REFUSED) from None


def _read_object(file: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if file == "-" else read_text(Path(file))
        return require_object(parse_document(text))
    except DocumentError as error:
        raise CommandError(f"{file} {error}", REFUSED) from None
