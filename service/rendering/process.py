"""A separate process for jobs that take seconds, and the service's end of the pipes to it.

Run as `python -m service.rendering.process`, it reads one request per line and answers each with
a line that gives the status and the length, then so many bytes. It ends when its input ends, so
also when the service is killed. Not `multiprocessing`: its workers import the main module of the
service again.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import optuna

from service.bundle.write import write
from service.insight.plots import PLOTS
from service.rendering.optuna_export import export
from service.store import searches
from service.store.artifacts import ArtifactStore
from service.store.database import Database

_NICENESS = 5


class RenderFailed(RuntimeError):
    """The job failed, or the process was killed twice; the message has the traceback."""


class RenderProcess:
    """The service's end of the pipes; the process starts at the first call. Not thread-safe."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def call(self, job: str, **arguments: str) -> bytes:
        """Run one of `JOBS`; once more if the process was killed during it.

        Raises:
            RenderFailed: If the job failed.
        """
        request = json.dumps({"job": job, "arguments": arguments}).encode()
        for _ in range(2):
            try:
                return self._ask(request)
            except (BrokenPipeError, EOFError):
                # Killed from outside, as by the kernel for its memory: another one may succeed.
                self.stop()
            if self._closed:
                raise RenderFailed("the service stops")
        raise RenderFailed("the process that draws figures was killed twice")

    def abort(self) -> None:
        """End the process for good, also in the middle of a job; safe in any thread."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End the process; the next call starts another."""
        if self._process is not None:
            self._process.kill()
            # Closing the pipe flushes what the killed process did not read.
            with suppress(BrokenPipeError), self._process:
                pass
            self._process = None

    def _ask(self, request: bytes) -> bytes:
        if self._process is None:
            command = [sys.executable, "-m", "service.rendering.process"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(request + b"\n")
        stdin.flush()
        status, _, length = stdout.readline().partition(b" ")
        if not length:
            raise EOFError
        answer = stdout.read(int(length))
        if status != b"ok":
            raise RenderFailed(answer.decode())
        return answer


def draw(url: str, search: str, name: str) -> bytes:
    """Return a figure as JSON."""
    with _database(url).read() as session:
        return encode(PLOTS[name].draw(session, searches.get(session, search)))


def encode(figure: object) -> bytes:
    return json.dumps(figure, allow_nan=False, separators=(",", ":")).encode()


def write_export(url: str, search: str, path: str) -> bytes:
    """Write a search's trials as an Optuna database."""
    with _database(url).read() as session:
        export(session, searches.get(session, search), Path(path))
    return b""


def write_bundle(url: str, search: str, path: str, artifacts: str, which: str) -> bytes:
    """Write the bundle of the confirmed winner, or of the best so far if `which` says so."""
    with _database(url).read() as session:
        write(
            session,
            searches.get(session, search),
            Path(path),
            store=ArtifactStore(artifacts, Path(path).parent),
            unconfirmed=which == "unconfirmed",
        )
    return b""


JOBS: Mapping[str, Callable[..., bytes]] = {
    "draw": draw,
    "export": write_export,
    "bundle": write_bundle,
}


@lru_cache(maxsize=1)
def _database(url: str) -> Database:
    return Database(url)


def _environment() -> dict[str, str]:
    """Return the environment of the service, in which the process finds this package."""
    root = str(Path(__file__).parents[2])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        request: Any = json.loads(line)
        try:
            status, answer = b"ok", JOBS[request["job"]](**request["arguments"])
        except Exception:
            # The boundary of the process: one search that fails must not stop the others.
            status, answer = b"failed", traceback.format_exc().encode()
        answers.write(b"%b %d\n%b" % (status, len(answer), answer))
        answers.flush()


if __name__ == "__main__":
    os.nice(_NICENESS)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # What libraries print must not get between the answers: it goes to stderr.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, channel)
