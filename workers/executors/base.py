"""Where trials run, as the agent sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from search_space.contract import Outcome
from workers.tasks.base import Task


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to be started for a trial.

    Attributes:
        settings: Of the search's task.
        lease_file: What the process reads to know its trial.
        log: The file for its output.
    """

    task: Task
    settings: dict[str, Any]
    lease_file: Path
    log: Path


@dataclass(frozen=True, slots=True)
class TrialResources:
    """The resources of a node that one trial gets; a fraction of a GPU is shared."""

    cpus: float
    gpus: float


class TrialProcess(Protocol):
    """A trial's process and everything it started. Safe to use from several threads."""

    @property
    def is_placed(self) -> bool:
        """Whether it runs, or has run: False while it waits for a machine."""
        ...

    @property
    def cause(self) -> Outcome | None:
        """How it ended, if the executor knows more than the exit code says."""
        ...

    @property
    def is_place_gone(self) -> bool:
        """Whether the machine it ran on was lost, which says nothing about the worker."""
        ...

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None if the process still runs after `timeout` seconds."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """End it and everything it started, at once (SIGKILL)."""
        ...


class Executor(Protocol):
    """Starts processes, one per slot at a time. Safe to use from several threads."""

    @property
    def slots(self) -> int: ...

    @property
    def devices(self) -> list[str]:
        """What the slots run on, for people to read."""
        ...

    def start(self, spec: ProcessSpec, *, slot: int) -> TrialProcess: ...
