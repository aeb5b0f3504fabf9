"""Tasks of users, from files (`--load`) and from installed packages (entry points).

`python -m workers.tasks.loading FILE ...` prints them as JSON. The agent runs this as a process,
since a file that defines a task may import torch, which must not stay in the agent's memory.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from search_space.contract import TaskOffer
from search_space.user_module import UnusableFile, import_file
from workers.errors import BadTaskFile
from workers.tasks.base import FunctionTask

GROUP = "activation_search.tasks"
"""Entry points of tasks: objects of `FunctionTask`."""


def foreign_tasks(files: Sequence[Path]) -> list[FunctionTask]:
    """Return the tasks of installed packages, and those in the files.

    Raises:
        BadTaskFile: If one of them defines no task, or cannot be imported; the message says why.
    """
    if not files and not entry_points(group=GROUP):
        return []
    command = [sys.executable, "-m", "workers.tasks.loading", *map(str, files)]
    asked = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(asked.stderr)
    if asked.returncode != 0:
        reason = (asked.stderr.strip().splitlines() or ["it ended without a message"])[-1]
        raise BadTaskFile(files[0] if len(files) == 1 else Path("--load"), reason)
    return [_read(task) for task in json.loads(asked.stdout)]


def target_of(task: FunctionTask) -> Callable[..., None]:
    """Return the function that runs the trials of a task."""
    module, _, name = task.target.partition(":")
    loaded = import_module(module) if task.file is None else import_file(task.file)
    target: Callable[..., None] = getattr(loaded, name)
    return target


def main(files: Sequence[str]) -> None:
    """Print the tasks as JSON, and the output of their imports to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        points = entry_points(group=GROUP)
        found = [_checked(point.value, point.load()) for point in points]
        for file in files:
            found += _defined(Path(file).resolve())
    sys.stdout.write(json.dumps([_written(task) for task in found]))


def _defined(file: Path) -> list[FunctionTask]:
    module = import_file(file)
    tasks = [value for value in vars(module).values() if isinstance(value, FunctionTask)]
    if not tasks:
        raise UnusableFile(f"{file} defines no FunctionTask")
    for task in tasks:
        _check_target(file, module, task.target)
    return [replace(task, file=file) for task in tasks]


def _check_target(file: Path, module: ModuleType, target: str) -> None:
    name = target.removeprefix(f"{file.stem}:")
    if name == target or not callable(getattr(module, name, None)):
        raise UnusableFile(
            f"{file}: the target {target!r} is no function of this file; '{file.stem}:run' is run()"
        )


def _checked(where: str, value: Any) -> FunctionTask:
    if not isinstance(value, FunctionTask):
        raise UnusableFile(f"{where} must be a FunctionTask, is a {type(value).__name__}")
    return value


def _written(task: FunctionTask) -> dict[str, Any]:
    file = None if task.file is None else str(task.file)
    return {"offer": task.offer.model_dump(mode="json"), "target": task.target, "file": file}


def _read(data: dict[str, Any]) -> FunctionTask:
    file = None if data["file"] is None else Path(data["file"])
    return FunctionTask(TaskOffer.model_validate(data["offer"]), data["target"], file)


if __name__ == "__main__":
    main(sys.argv[1:])
