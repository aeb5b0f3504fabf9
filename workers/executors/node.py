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
from workers.attempt.exit_outcomes import read_failure
from workers.attempt.outbox import outcome_file_of, upload_checkpoint_of
from workers.errors import ServiceError
from workers.executors.base import ProcessSpec
from workers.executors.local import LocalExecutor
from workers.executors.local_process import LocalProcess
from workers.tasks.base import Place, Task

_POLL_SECONDS = 0.5
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class TrialPlaced:
    """The trial runs on this node."""

    node: str


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """The next chunk of the trial's output."""

    output: bytes


@dataclass(frozen=True, slots=True)
class TrialExited:
    """The trial's process has ended.

    Attributes:
        cause: How it ended, if the node knows more than the exit code says.
        is_unsent: Whether the process did not send its outcome to the service.
        sent: The outcome that it did send, as JSON.
    """

    code: int
    cause: Outcome | None
    is_unsent: bool
    sent: bytes | None


NodeMessage = TrialPlaced | TrialOutput | TrialExited


def run_on_node(
    task: Task, settings: dict[str, Any], lease: bytes, place: Place, relay: Any, key: str
) -> Iterator[NodeMessage]:
    """Run a trial as a Ray task, and yield messages on its start, its output and its end."""
    here = ray.get_runtime_context().get_node_id()
    yield TrialPlaced(f"{here[:8]} ({ray.util.get_node_ip_address()})")
    place.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=place.home))
    try:
        spec = ProcessSpec(task, settings, folder / "lease.json", folder / "log")
        # Created with its mode first: the lease holds a token.
        spec.lease_file.touch(mode=0o600)
        spec.lease_file.write_bytes(lease)
        process = _executor(place).start(spec, slot=0)
        try:
            code = yield from _follow(process, spec.log, relay, key)
        finally:
            # Ray closes this generator when the task is cancelled.
            process.kill()
        if is_unsent := spec.lease_file.exists():
            # From here, since the agent cannot read this node's disk.
            with contextlib.suppress(ServiceError):
                upload_checkpoint_of(spec.lease_file)
        cause = process.cause or read_failure(spec.lease_file, code)
        yield TrialExited(code, cause, is_unsent=is_unsent, sent=_sent_outcome(spec.lease_file))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _executor(place: Place) -> LocalExecutor:
    # Cached: Ray reuses its worker process for the next trial, which then finds the forkserver
    # with torch loaded.
    return LocalExecutor(place, slots=1, gpus=[])


def _follow(
    process: LocalProcess, log: Path, relay: Any, key: str
) -> Generator[TrialOutput, None, int]:
    """Yield the output, pass on signals from the agent's relay, and return the exit code."""
    last = 0
    sent_bytes = 0
    pending = relay.next_signal.remote(key, last)
    while (code := process.wait(_POLL_SECONDS)) is None:
        for chunk in _read(log, sent_bytes):
            sent_bytes += len(chunk)
            yield TrialOutput(chunk)
        if not ray.wait([pending], timeout=0)[0]:
            continue
        last = ray.get(pending)
        process.kill() if last == signal.SIGKILL else process.terminate()
        pending = relay.next_signal.remote(key, last)
    ray.cancel(pending)
    # Not `yield from`: Ray drives the generator by `send`, which the iterator of `_read` lacks.
    for chunk in _read(log, sent_bytes):
        yield TrialOutput(chunk)
    return code


def _sent_outcome(lease_file: Path) -> bytes | None:
    path = outcome_file_of(lease_file)
    return path.read_bytes() if path.exists() else None


def _read(log: Path, start: int) -> Iterator[bytes]:
    """Yield the content of the file from `start` on, in chunks."""
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
