"""The workers that run with a home, so that another process can tell them to drain."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAIN = signal.SIGUSR2


@contextmanager
def present(home: Path, worker: str) -> Iterator[None]:
    """Hold a locked file with this process's id."""
    # The system frees the lock of a process that dies, so a file without a lock is stale. A
    # process id alone says nothing: it may belong to another process by now.
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
    """Tell every running worker of `home` to drain, and return their ids."""
    drained = []
    for worker, process in _running(home):
        os.kill(process, DRAIN)
        drained.append(worker)
    return drained


def is_only_worker(home: Path, worker: str) -> bool:
    """Whether no other worker of `home` runs."""
    return all(running == worker for running, _ in _running(home))


def _running(home: Path) -> Iterator[tuple[str, int]]:
    """Yield the running workers with their process ids."""
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
