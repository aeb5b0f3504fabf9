"""The requests of slots that wait for work.

A long poll is a future in a list: it holds no thread, no session and no transaction.
"""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition

from search_space.contract import Assignment, LeaseRequest


@dataclass(eq=False)
class WaitingSlot:
    """A slot's request, until it is answered; one that has left is answered with None."""

    request: LeaseRequest
    answer: "Future[Assignment | None]" = field(default_factory=Future)
    has_left: bool = False
    since: float = field(default_factory=time.monotonic)


class LeaseQueue:
    """The requests of slots that wait for work. Every method is safe from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[WaitingSlot] = []
        self._news = False
        self._closed = False

    def enter(self, request: LeaseRequest) -> WaitingSlot:
        """Enter a request; its answer comes when there is work for it."""
        waiting = WaitingSlot(request)
        with self._changed:
            if self._closed:
                waiting.answer.set_result(None)
            else:
                self._waiting.append(waiting)
            self._tell()
        return waiting

    def leave(self, waiting: WaitingSlot) -> None:
        """Take a request back; its answer comes at once, and may still be work."""
        with self._changed:
            waiting.has_left = True
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                waiting.answer.set_result(None)

    def dismiss(self, worker_id: str) -> None:
        """Send a worker's requests away."""
        with self._changed:
            mine = [one for one in self._waiting if one.request.worker == worker_id]
        for waiting in mine:
            self.leave(waiting)

    def come_back(self, waiting: WaitingSlot) -> None:
        """Let a request wait on for which there was no work."""
        with self._changed:
            if waiting.has_left or self._closed:
                waiting.answer.set_result(None)
            else:
                self._waiting.append(waiting)

    def wake(self) -> None:
        """Say that there may be work now that was not there before."""
        with self._changed:
            self._tell()

    def close(self) -> None:
        """Send everyone away, now and from now on."""
        with self._changed:
            self._closed = True
            for waiting in self._waiting:
                waiting.answer.set_result(None)
            self._waiting = []
            self._tell()

    def next(self, seconds: float) -> list[WaitingSlot]:
        """Wait for news, or for `seconds`; return everyone who waits, in order."""
        with self._changed:
            if not self._news:
                self._changed.wait(seconds)
            self._news = False
            return list(self._waiting)

    def call(self, waiting: WaitingSlot) -> bool:
        """Take a request out, to be served; return whether it still waited.

        A round of many slots may take longer than a slot waits: what were handed out to one
        that has left would be lost.
        """
        with self._changed:
            still_waits = waiting in self._waiting
            if still_waits:
                self._waiting.remove(waiting)
            return still_waits

    @property
    def size(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def _tell(self) -> None:
        self._news = True
        self._changed.notify()
