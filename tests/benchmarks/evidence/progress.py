"""What has been done, line by line: a job that is killed goes on where it was."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Steps = Iterable[tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]]
"""Names, and what makes the value of each from those before."""


def read(file: Path) -> dict[str, Any]:
    """Return what a file of progress has, by name."""
    return {line["name"]: line["value"] for line in lines(file)}


def lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, without what was cut short where a job was killed."""
    found = []
    for line in file.read_text().splitlines() if file.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def add(line: Mapping[str, Any], file: Path) -> None:
    """Add a line to a file; it never goes on in one that was cut short."""
    cut = file.is_file() and not file.read_text().endswith("\n")
    with file.open("a") as progress:
        progress.write("\n" * cut + json.dumps(line) + "\n")


def do(steps: Steps, file: Path, *, until: Callable[[], bool]) -> None:
    """Make what is missing, one after another, as long as there is time."""
    done = read(file)
    for name, make in steps:
        if name in done:
            continue
        if until():
            break
        done[name] = make(done)
        add({"name": name, "value": done[name]}, file)
        print(f"{name} is done", flush=True)  # noqa: T201
