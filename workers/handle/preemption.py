"""Signals that take a machine away: the trial hands in its checkpoint and ends."""

import os
import signal
import threading
from types import FrameType

from workers.attempt.attempt import Ended
from workers.attempt.exit_outcomes import preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""SIGTERM from the agent, a scheduler or a person; SIGUSR1 as Slurm is asked to send ahead."""


class Preempted(Ended):
    """The process was told to end; leaves the training loop as any other end does."""

    def __init__(self) -> None:
        super().__init__(preempted())


class Preemption:
    """Turns the first of the signals into `Preempted`, in the main thread alone."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._is_ignored = False

    def watch(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._end)

    def ignore(self) -> None:
        self._is_ignored = True

    def _end(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A child of the script, such as a loader of data, has inherited the handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._is_ignored:
            self._is_ignored = True
            raise Preempted
