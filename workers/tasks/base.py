"""What a task is: an offer to the service, and a way to run it in a process of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search_space.contract import TaskOffer


@dataclass(frozen=True, slots=True)
class Place:
    """What a trial finds on the worker it runs on.

    Attributes:
        home: The worker's own folder; `home/cache` is shared by all trials.
        data_root: Where the user keeps data sets.
        threads: A slot's share of the processor's cores.
        memory_bytes: A slot's share of the machine's memory; a trial that uses more is ended.
        gpu_share: What part of its GPU's memory a trial may use, where its place tells.
        min_free_bytes: On a fuller disk than that no trial starts.
    """

    home: Path
    data_root: Path
    threads: int
    memory_bytes: int | None = None
    gpu_share: float | None = None
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FunctionTask:
    """A task in Python, run by `target(trial, settings, place)` in a process that has torch.

    Attributes:
        target: `module:function`; a name, because the agent itself does without torch.
        file: Where the module is, of a task that was loaded from a file.
    """

    offer: TaskOffer
    target: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class CommandTask:
    """A user's own training script, which calls `actsearch.trial()`.

    Attributes:
        devices: More than one: torchrun starts so many processes of the command.
    """

    offer: TaskOffer
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: int = 1


Task = FunctionTask | CommandTask
