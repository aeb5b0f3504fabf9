"""The tasks that a worker offers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.errors import BadTaskFile
from workers.tasks import (
    image_classification,
    implicit_image,
    segmentation,
    sequence_classification,
)
from workers.tasks.base import CommandTask, Task
from workers.tasks.command import read_tasks
from workers.tasks.loading import foreign_tasks

_BUILTIN: tuple[Task, ...] = (
    image_classification.TASK,
    implicit_image.TASK,
    segmentation.TASK,
    sequence_classification.TASK,
)


def load_tasks(path: Path | None, files: Sequence[Path] = ()) -> Mapping[str, Task]:
    """Return all tasks by name: built-in, of installed packages, of files and a `tasks.toml`.

    Args:
        path: The `tasks.toml`.
        files: Python files that define tasks.

    Raises:
        BadTaskFile: If one of these is not valid, or two tasks have one name.
    """
    tasks: dict[str, Task] = {task.offer.name: task for task in _BUILTIN}
    commands: Sequence[Task] = read_tasks(path) if path is not None else []
    others: Sequence[Task] = [*foreign_tasks(files), *commands]
    for task in others:
        if task.offer.name in tasks:
            raise BadTaskFile(
                _place(task, path), f"{task.offer.name!r} is the name of another task"
            )
        tasks[task.offer.name] = task
    return tasks


def _place(task: Task, commands: Path | None) -> Path:
    """Return the file or module that defines a task."""
    if isinstance(task, CommandTask):
        assert commands is not None
        return commands
    return task.file or Path(task.target)
