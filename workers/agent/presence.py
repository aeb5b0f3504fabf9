"""The living workers of a home, so that one can be told to drain from another terminal."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAIN = signal.SIGUSR2


@contextmanager
def present(home: Path, worker: str) -> Iterator[None]:
    """Hold a locked file with this process's id; the lock tells the living from the dead."""
    path = _folder(home) / worker
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def drain_all(home: Path) -> list[str]:
    """Tell every living worker of `home` to drain, and return their ids."""
    told = []
    for worker, process in _living(home):
        os.kill(process, DRAIN)
        told.append(worker)
    return told


def is_alone(home: Path, worker: str) -> bool:
    """Whether no other worker of `home` lives."""
    return all(living == worker for living, _ in _living(home))


def _living(home: Path) -> Iterator[tuple[str, int]]:
    """Yield the living workers with their processes."""
    for path in sorted(_folder(home).glob("*")):
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path.name, int(file.read())
            else:
                # Its worker was killed.
                path.unlink(missing_ok=True)


def _folder(home: Path) -> Path:
    return home / "workers"
