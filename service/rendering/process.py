"""A process of its own for what takes seconds, heavy figures and exports: both its ends.

Run as `python -m service.rendering.process`, it reads one request a line and answers each with a
line that tells the length, then so many bytes. It ends when its input does, so also when the
service is killed. Unlike a worker of `multiprocessing` it never runs the service's main module.
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
    """The work went wrong, or the process was killed twice; the message says how."""


class RenderProcess:
    """The service's end. The process starts at the first call. Not thread-safe."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def call(self, work: str, **arguments: str) -> bytes:
        """Do one of `WORK`; once more where the process was killed meanwhile.

        Raises:
            ChildFailed: If that went wrong.
        """
        request = json.dumps({"work": work, "arguments": arguments}).encode()
        for _ in range(2):
            try:
                return self._ask(request)
            except (BrokenPipeError, EOFError):
                self.forget()
            if self._closed:
                raise RenderFailed("the service stops")
        raise RenderFailed("the process that draws figures was killed twice")

    def interrupt(self) -> None:
        """End whatever it is doing, for good; any thread may."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def forget(self) -> None:
        """End the process; the next call starts another."""
        if self._process is not None:
            self._process.kill()
            # What was not read by a process that was killed cannot be written when it is closed.
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
        went_well, _, length = stdout.readline().partition(b" ")
        if not length:
            raise EOFError
        answer = stdout.read(int(length))
        if went_well != b"ok":
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
    """Write what a user downloads of a search's best: the confirmed, or `which` names another."""
    with _database(url).read() as session:
        write(
            session,
            searches.get(session, search),
            Path(path),
            store=ArtifactStore(artifacts, Path(path).parent),
            unconfirmed=which == "unconfirmed",
        )
    return b""


WORK: Mapping[str, Callable[..., bytes]] = {
    "draw": draw,
    "export": write_export,
    "bundle": write_bundle,
}


@lru_cache(maxsize=1)
def _database(url: str) -> Database:
    return Database(url)


def _environment() -> dict[str, str]:
    """Return the service's own environment, by which the child finds this package too."""
    root = str(Path(__file__).parents[2])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        request: Any = json.loads(line)
        try:
            status, answer = b"ok", WORK[request["work"]](**request["arguments"])
        except Exception:
            # The edge of the process: one search that breaks must not end the work for others.
            status, answer = b"failed", traceback.format_exc().encode()
        answers.write(b"%b %d\n%b" % (status, len(answer), answer))
        answers.flush()


if __name__ == "__main__":
    os.nice(_NICENESS)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Whatever libraries print must not get between the answers.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, channel)
