"""Every task that a worker offers."""

from collections.abc import Mapping
from pathlib import Path

from workers.errors import BadTaskFile
from workers.tasks import (
    image_classification,
    implicit_image,
    segmentation,
    sequence_classification,
)
from workers.tasks.base import Task
from workers.tasks.command import read_tasks

_BUILTIN: tuple[Task, ...] = (
    image_classification.TASK,
    implicit_image.TASK,
    segmentation.TASK,
    sequence_classification.TASK,
)


def load_tasks(path: Path | None) -> Mapping[str, Task]:
    """Return the built-in tasks and those of a `tasks.toml`, by name."""
    tasks = {task.offer.name: task for task in _BUILTIN}
    for task in read_tasks(path) if path is not None else []:
        if task.offer.name in tasks:
            assert path is not None
            raise BadTaskFile(path, f"{task.offer.name!r} is the name of a built-in task")
        tasks[task.offer.name] = task
    return tasks
