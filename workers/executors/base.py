"""Where trials run, as the agent sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from workers.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Order:
    """One process to be started.

    Attributes:
        settings: Those of the search's task.
        lease_file: What the process reads to know its trial.
        log: Where its output goes.
    """

    task: Task
    settings: dict[str, Any]
    lease_file: Path
    log: Path


class Running(Protocol):
    """A trial's process and everything it started. Safe to use from several threads."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None if the process outlives `timeout` seconds."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """End it and whatever it started, at once (SIGKILL)."""
        ...


class Executor(Protocol):
    """Starts processes, one per slot at a time. Safe to use from several threads."""

    @property
    def slots(self) -> int: ...

    @property
    def devices(self) -> list[str]:
        """What the slots run on, for people to read."""
        ...

    def start(self, order: Order, *, slot: int) -> Running: ...
