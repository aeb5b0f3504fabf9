"""Ends the processes of a test run that was killed before it could end them itself.

A watcher, a process beside the run, waits until the run has ended. Unless the run says that all is
well, it ends every process whose environment has the run's tag, also those that a test has
detached, such as PostgreSQL.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TAG = "TEST_RUN_TAG"
WELL = b"well"
PATIENCE_SECONDS = 3
"""So long a process may take to end cleanly; PostgreSQL then leaves no shared memory."""
MOST_SECONDS = 30


def tag() -> dict[str, str]:
    """Return what must be in the environment of a process that does not inherit all of ours."""
    return {TAG: os.environ[TAG]} if TAG in os.environ else {}


@contextmanager
def ended_with_the_run() -> Iterator[None]:
    """Tag all processes that are started within, and end them if this process is killed."""
    value = f"{os.getpid()}-{time.time_ns()}"
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, value],
        stdin=subprocess.PIPE,
        # What stops the run must not stop the watcher.
        start_new_session=True,
    )
    before, os.environ[TAG] = os.environ.get(TAG), value
    try:
        yield
    finally:
        del os.environ[TAG]
        if before is not None:
            os.environ[TAG] = before
        watcher.communicate(WELL)


def tagged(value: str) -> list[int]:
    """Return the ids of the processes that were started with a tag."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _has(path, value)]


def _has(process: Path, value: str) -> bool:
    try:
        environment = (process / "environ").read_bytes()
    except OSError:  # It has ended, or is another user's.
        return False
    return f"{TAG}={value}".encode() in environment.split(b"\0")


def _end(value: str) -> None:
    """End the tagged processes: by a signal that they can act on, then by force."""
    start = time.monotonic()
    while (found := tagged(value)) and (waited := time.monotonic() - start) < MOST_SECONDS:
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM if waited < PATIENCE_SECONDS else signal.SIGKILL)
        time.sleep(0.2)


if __name__ == "__main__":
    if sys.stdin.buffer.read() != WELL:
        _end(sys.argv[1])
