"""What a node of a Ray cluster runs: one trial, by the same processes as on one machine."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ray

from search_space.contract import Outcome
from workers.attempt.exit_outcomes import left_behind
from workers.attempt.outbox import hand_in_for_the_dead, said_in
from workers.errors import ServiceError
from workers.executors.base import Order
from workers.executors.local import LocalExecutor, LocalRunning
from workers.tasks.base import Place, Task

_LOOK_SECONDS = 0.5
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Started:
    """The trial has a place: on this node."""

    node: str


@dataclass(frozen=True, slots=True)
class Printed:
    """The next piece of what the trial printed."""

    output: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The trial's process has ended.

    Attributes:
        owes_last_word: It did not tell the service how.
        said: The last word that it told, as JSON.
    """

    code: int
    cause: Outcome | None
    owes_last_word: bool
    said: bytes | None


Word = Started | Printed | Ended


def run_on_node(
    task: Task, settings: dict[str, Any], lease: bytes, place: Place, board: Any, key: str
) -> Iterator[Word]:
    """Run a trial and say when it starts, what it prints and how it ends: a Ray task's body."""
    here = ray.get_runtime_context().get_node_id()
    yield Started(f"{here[:8]} ({ray.util.get_node_ip_address()})")
    place.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=place.home))
    try:
        order = Order(task, settings, folder / "lease.json", folder / "log")
        order.lease_file.touch(mode=0o600)
        order.lease_file.write_bytes(lease)
        running = _executor(place).start(order, slot=0)
        try:
            code = yield from _follow(running, order.log, board, key)
        finally:
            running.kill()
        if owes := order.lease_file.exists():
            with contextlib.suppress(ServiceError):
                hand_in_for_the_dead(order.lease_file)
        cause = running.cause or left_behind(order.lease_file, code)
        yield Ended(code, cause, owes_last_word=owes, said=_said(order.lease_file))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _executor(place: Place) -> LocalExecutor:
    """Return what starts processes. Ray uses its own process again for the next trial, and so
    is the forkserver that has torch loaded.
    """
    return LocalExecutor(place, slots=1, gpus=[])


def _follow(
    running: LocalRunning, log: Path, board: Any, key: str
) -> Generator[Printed, None, int]:
    """Yield the output, pass on the signals on the agent's board, and return the exit code."""
    sent = 0
    printed = 0
    told = board.told.remote(key, sent)
    while (code := running.wait(_LOOK_SECONDS)) is None:
        for piece in _read(log, printed):
            printed += len(piece)
            yield Printed(piece)
        if not ray.wait([told], timeout=0)[0]:
            continue
        sent = ray.get(told)
        running.kill() if sent == signal.SIGKILL else running.terminate()
        told = board.told.remote(key, sent)
    ray.cancel(told)
    # One by one: Ray drives the generator by `send`, which a mere iterator has not.
    for piece in _read(log, printed):
        yield Printed(piece)
    return code


def _said(lease_file: Path) -> bytes | None:
    path = said_in(lease_file)
    return path.read_bytes() if path.exists() else None


def _read(log: Path, start: int) -> Iterator[bytes]:
    """Yield what the file holds from `start` on, in pieces."""
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(start)
        while piece := file.read(_PIECE_BYTES):
            yield piece
