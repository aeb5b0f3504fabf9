"""Signals that announce the end of a machine's time: the trial saves its work and ends."""

import os
import signal
import threading
from types import FrameType

from workers.attempt.attempt import AttemptEnded
from workers.attempt.exit_outcomes import preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""SIGTERM from the agent, a scheduler or a person; SIGUSR1 from Slurm, some time before."""


class Preempted(AttemptEnded):
    """The process was told to end; leaves the training loop like every other end of an attempt."""

    def __init__(self) -> None:
        super().__init__(preempted())


class Preemption:
    """Raises `Preempted` in the main thread at the first of the signals."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._is_ignored = False

    def install_handlers(self) -> None:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._end)

    def ignore(self) -> None:
        self._is_ignored = True

    def _end(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A child of the script, such as a worker of a DataLoader, has inherited the handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._is_ignored:
            self._is_ignored = True
            raise Preempted
