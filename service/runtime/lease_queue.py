"""The queue of the slots that wait for work.

A long poll is a future in a list: it holds no thread, no session and no transaction.
"""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition

from search_space.contract import Assignment, LeaseRequest


@dataclass(eq=False)
class WaitingSlot:
    """A slot's request until it is answered; one that was removed is answered with None."""

    request: LeaseRequest
    answer: "Future[Assignment | None]" = field(default_factory=Future)
    is_removed: bool = False
    queued_at: float = field(default_factory=time.monotonic)


class LeaseQueue:
    """The requests of slots that wait for work. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[WaitingSlot] = []
        # Remembers a notification that arrives while the scheduler does not wait for one.
        self._is_notified = False
        self._closed = False

    def add(self, request: LeaseRequest) -> WaitingSlot:
        """Add a request; its answer is set when there is work for it."""
        waiting = WaitingSlot(request)
        with self._changed:
            if self._closed:
                waiting.answer.set_result(None)
            else:
                self._waiting.append(waiting)
            self._notify()
        return waiting

    def remove(self, waiting: WaitingSlot) -> None:
        """Remove a request. One that the scheduler has claimed may still be answered with work."""
        with self._changed:
            waiting.is_removed = True
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                waiting.answer.set_result(None)

    def remove_worker(self, worker_id: str) -> None:
        """Remove all requests of a worker."""
        with self._changed:
            requests = [one for one in self._waiting if one.request.worker == worker_id]
        for waiting in requests:
            self.remove(waiting)

    def claim(self, waiting: WaitingSlot) -> bool:
        """Take a request out of the queue to serve it; return False if it was removed before.

        The scheduler goes through a copy of the queue, and that may take longer than a slot waits.
        Work that is handed out to a slot that has gone would be lost.
        """
        with self._changed:
            is_waiting = waiting in self._waiting
            if is_waiting:
                self._waiting.remove(waiting)
            return is_waiting

    def requeue(self, waiting: WaitingSlot) -> None:
        """Put a claimed request back for which there was no work."""
        with self._changed:
            # Removed or closed while it was claimed: nobody else will answer it.
            if waiting.is_removed or self._closed:
                waiting.answer.set_result(None)
            else:
                self._waiting.append(waiting)

    def notify(self) -> None:
        """Wake the scheduler: there may be new work."""
        with self._changed:
            self._notify()

    def close(self) -> None:
        """Answer all requests with None, now and from now on."""
        with self._changed:
            self._closed = True
            for waiting in self._waiting:
                waiting.answer.set_result(None)
            self._waiting = []
            self._notify()

    def wait(self, seconds: float) -> list[WaitingSlot]:
        """Wait for a notification, at most `seconds`; return the requests, the oldest first."""
        with self._changed:
            if not self._is_notified:
                self._changed.wait(seconds)
            self._is_notified = False
            return list(self._waiting)

    @property
    def size(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def _notify(self) -> None:
        self._is_notified = True
        self._changed.notify()
