"""Commands that change a search: its budget, its end, a fork of it, trials by hand."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from service.cli.common import REFUSED, CommandError, Id, Json, Token, Url, print_json, say
from service.cli.searches import print_state
from service.client.client import Client

Trials = Annotated[int | None, typer.Option(help="Proposed candidates in all.")]
Hours = Annotated[str | None, typer.Option(help="Hours in all, or none for no limit.")]
GpuHours = Annotated[str | None, typer.Option(help="GPU hours in all, or none for no limit.")]


def change(
    id: Id,
    trials: Trials = None,
    hours: Hours = None,
    gpu_hours: GpuHours = None,
    failures: Annotated[int | None, typer.Option(help="Faults in a row that pause.")] = None,
    parallel: Annotated[int | None, typer.Option(help="Trials at once.")] = None,
    priority: Annotated[int | None, typer.Option(help="The higher, the earlier.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change a search; a completed one with a greater budget runs on."""
    budget = {"trials": trials, "failures": failures}
    budget = {key: value for key, value in budget.items() if value is not None}
    limits = {"hours": hours, "gpu_hours": gpu_hours}
    given = {key: _limit(key, value) for key, value in limits.items() if value is not None}
    others = {"parallel": parallel, "priority": priority, "name": name}
    changes: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    if budget or given:
        changes["budget"] = budget | given
    if not changes:
        raise CommandError("nothing to change; `actsearch change --help` lists what may", REFUSED)
    with Client(url, token) as client:
        print_state(client.change(id, **changes), as_json=as_json)


def kill(id: Id, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Kill a search: nothing more starts, running trials end at their next word."""
    with Client(url, token) as client:
        print_state(client.kill(id), as_json=as_json)


def fork(
    id: Id,
    edits: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Edits, as budget.trials=80 sampler.seed=1."),
    ] = None,
    file: Annotated[str | None, typer.Option(help="Edits in YAML or JSON; - : stdin.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Submit a search anew, with edits."""
    whole = {} if file is None else _read_object(file)
    for edit in edits or []:
        _put(whole, edit)
    with Client(url, token) as client:
        forked = client.fork(id, whole)
        if as_json:
            print_json(forked)
        else:
            say(forked.id)


def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of searches.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Delete searches with their trials and files, for good."""
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm(f"delete {', '.join(ids)} with all trials and files?", abort=True)
    with Client(url, token) as client:
        for id in ids:
            client.delete(id)
            if not as_json:
                say(f"{id}: deleted")
    if as_json:
        print_json({"deleted": ids})


def add(
    id: Id,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A candidate in YAML or JSON; - : stdin.")
    ],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Add a candidate by hand: `sites: {SITE: ACTIVATION}`, or an activation config."""
    candidate = _read_object(file)
    # A downloaded config holds its candidate beside much else.
    candidate = candidate.get("candidate", candidate)
    with Client(url, token) as client:
        trial = client.add_trial(id, candidate)
    if as_json:
        print_json(trial)
    else:
        say(f"{trial.id}: trial {trial.number} of {id} waits")


def _limit(name: str, text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        option = name.replace("_", "-")
        raise CommandError(f"--{option} must be a number or none, got {text!r}", REFUSED) from None


def _put(document: dict[str, Any], edit: str) -> None:
    """Put one `a.b=value` into a document."""
    path, sign, text = edit.partition("=")
    if not sign or not all(parts := path.split(".")):
        raise CommandError(f"an edit is KEY=VALUE, as budget.trials=80; got {edit!r}", REFUSED)
    target = document
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise CommandError(f"{edit!r} and another edit contradict each other", REFUSED)
    target[parts[-1]] = _yaml(text, f"the value of {path}")


def _read_object(file: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}", REFUSED) from None
    data = _yaml(text, file)
    if not isinstance(data, Mapping):
        raise CommandError(f"{file} must hold an object, got {data!r}", REFUSED)
    return dict(data)


def _yaml(text: str, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f"{what} is neither YAML nor JSON: {error}", REFUSED) from None


COMMANDS: Sequence[Any] = (change, kill, fork, delete, add)
