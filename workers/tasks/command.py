"""Tasks that are the user's training scripts, from a `tasks.toml`.

[tasks.my-network]
command = ["python", "train.py"]
directory = "."                     # relative to this file
epochs = 30
metrics = {validation_accuracy = "maximize"}
environment = {OMP_SCHEDULE = "static"}
devices = 2                         # number of processes, started by torchrun; 1 if left out
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_space.contract import Name, TaskOffer
from workers.errors import BadTaskFile
from workers.tasks.base import CommandTask


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Annotated[list[str], Field(min_length=1)]
    epochs: Annotated[int, Field(ge=1)]
    directory: Path = Path()
    description: str = ""
    environment: dict[str, str] = {}
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    metrics: Annotated[dict[Name, Literal["maximize", "minimize"]], Field(min_length=1)] = {
        "validation_accuracy": "maximize"
    }


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[Name, _Entry] = {}


def read_tasks(path: Path) -> list[CommandTask]:
    """Return the tasks of the file. Raises `BadTaskFile`."""
    try:
        content = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTaskFile(path, str(error)) from error
    except ValidationError as error:
        raise BadTaskFile(path, _sentences(error)) from error
    folder = path.resolve().parent
    return [_task(name, entry, folder) for name, entry in content.tasks.items()]


def _task(name: str, entry: _Entry, folder: Path) -> CommandTask:
    offer = TaskOffer(
        name=name,
        description=entry.description,
        settings=_settings(entry.epochs),
        metrics=entry.metrics,
    )
    directory = folder / entry.directory
    return CommandTask(offer, tuple(entry.command), directory, entry.environment, entry.devices)


def _settings(epochs: int) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"epochs": {"type": "integer", "minimum": 1, "default": epochs}},
        "additionalProperties": False,
    }


def _sentences(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors()
    )
