"""The process of a trial on this machine, watched from the agent."""

import contextlib
import math
import os
import signal
import threading
import time
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from search_space.contract import FailureClass, Outcome
from workers.attempt.exit_outcomes import failed, was_killed
from workers.executors.memory import out_of_memory_kills, used_by
from workers.executors.processes import end_all, processes_of

_GIB = 2**30
_POLL_SECONDS = 1.0
# The exit code that `multiprocessing` reports if the forkserver, which would know it, is gone.
_UNKNOWN_CODE = 255
_NO_FORKSERVER = "the process was ended, as the one that had started it was killed"
_NO_MEMORY = "the machine ran out of memory, and the kernel killed the trial"


class LocalProcess:
    """Implements `TrialProcess` for one process and everything it started.

    Args:
        lock: Of the executor, held whenever an exit code is read.
        memory_bytes: A trial that uses more is killed; None: no limit.
    """

    is_placed = True
    # The agent runs on the same machine.
    is_place_gone = False

    def __init__(
        self,
        process: ForkServerProcess,
        lock: threading.Lock,
        lease_file: Path,
        *,
        memory_bytes: int | None,
    ) -> None:
        self._process = process
        self._lock = lock
        self._lease_file = lease_file
        self._memory_bytes = memory_bytes
        self._kills_before = out_of_memory_kills()
        self._cause: Outcome | None = None

    @property
    def cause(self) -> Outcome | None:
        return self._cause

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        end = math.inf if timeout is None else time.monotonic() + timeout
        # In short steps, since the trial's memory must be checked while it runs.
        while not connection.wait([self._process.sentinel], self._step(end)):
            self._check_memory()
            if time.monotonic() >= end:
                break
        code = self.poll()
        if code is not None:
            self._clean_up(code)
        return code

    def _clean_up(self, code: int) -> None:
        """End what the process left behind, and find the cause of its end."""
        # The sentinel also fires when the forkserver dies; the process may then still run.
        if code == _UNKNOWN_CODE and self._exists():
            self._cause = self._cause or failed(FailureClass.LOST, _NO_FORKSERVER)
        # Children that outlive a trial would hold its memory and its device.
        end_all(self.pid, self._lease_file)
        # The kernel does not say which process it killed. But a SIGKILL together with a counter
        # that has risen since the start is most probably this.
        if was_killed(code) and out_of_memory_kills() > self._kills_before:
            self._cause = self._cause or failed(FailureClass.OUT_OF_MEMORY, _NO_MEMORY)

    def _exists(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _step(self, end: float) -> float:
        return max(0.0, min(_POLL_SECONDS, end - time.monotonic()))

    def _check_memory(self) -> None:
        """Kill a trial that uses more than its share."""
        # Before the kernel has to: its choice may be another trial, or the agent.
        if self._memory_bytes is None or self._cause is not None:
            return
        used = used_by(processes_of(self.pid, self._lease_file))
        if used > self._memory_bytes:
            share = f"{self._memory_bytes / _GIB:.2f} GiB of --memory-per-trial"
            message = f"the trial used {used / _GIB:.2f} GiB of memory, more than the {share}"
            self._cause = failed(FailureClass.OUT_OF_MEMORY, message)
            self.kill()

    def terminate(self) -> None:
        if self.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                # It has ended, or has not made its process group yet.
                self._signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            end_all(self.pid, self._lease_file)
            # `end_all` misses a process that has neither session nor environment of its own yet.
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            # Polled again: the id of a process whose exit code was read may be another's now.
            if self.poll() is None:
                os.kill(self.pid, number)
