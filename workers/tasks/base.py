"""Tasks: an offer to the service, and what to run for a trial."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search_space.contract import TaskOffer


@dataclass(frozen=True, slots=True)
class Place:
    """The folders and resources of a trial on its worker.

    Attributes:
        home: The worker's own folder; all trials share `home/cache`.
        data_root: Folder of the user's data sets.
        threads: Number of threads of a trial.
        memory_bytes: A trial that uses more memory is killed; None: no limit.
        gpu_share: Fraction of its GPU's memory that a trial may use; None: the executor decides.
        min_free_bytes: No trial starts with less free space on the disk of `home`.
    """

    home: Path
    data_root: Path
    threads: int
    memory_bytes: int | None = None
    gpu_share: float | None = None
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FunctionTask:
    """A task in Python: `target(trial, settings, place)` runs a trial, in a process with torch.

    Attributes:
        target: `module:function`. It is a name, so that the agent need not import torch.
        file: The file of the module, if the task was loaded from a file.
    """

    offer: TaskOffer
    target: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class CommandTask:
    """A user's own training script, which calls `actsearch.trial()`.

    Attributes:
        devices: If more than one, torchrun starts so many processes of the command.
    """

    offer: TaskOffer
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: int = 1


Task = FunctionTask | CommandTask
