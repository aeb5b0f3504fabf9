"""One thread that serves the slots waiting for work, in the order in which they asked.

A long poll is a future in a list: it holds no thread, no session and no transaction.
"""

import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from search_space.contract import Assignment, LeaseRequest
from service.core import Core
from service.errors import ServiceError
from service.handout import find_work
from service.words import sweep

TICK_SECONDS = 1.0
"""How often time alone may change what there is to do: leases run out, attempts stall."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Waiting:
    """A slot's request, until it is answered; one that has left is answered with None."""

    request: LeaseRequest
    answer: "Future[Assignment | None]" = field(default_factory=Future)
    has_left: bool = False
    since: float = field(default_factory=time.monotonic)


class WaitingRoom:
    """The requests of slots that wait for work. Every method is safe from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[Waiting] = []
        self._news = False
        self._closed = False

    def enter(self, request: LeaseRequest) -> Waiting:
        """Enter a request; its answer comes when there is work for it."""
        waiting = Waiting(request)
        with self._changed:
            if self._closed:
                waiting.answer.set_result(None)
            else:
                self._waiting.append(waiting)
            self._tell()
        return waiting

    def leave(self, waiting: Waiting) -> None:
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

    def come_back(self, waiting: Waiting) -> None:
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

    def next(self, seconds: float) -> list[Waiting]:
        """Wait for news, or for `seconds`; return everyone who waits, in order."""
        with self._changed:
            if not self._news:
                self._changed.wait(seconds)
            self._news = False
            return list(self._waiting)

    def call(self, waiting: Waiting) -> bool:
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


class Scheduler:
    """Hands out work. Start it once; stop it before the database closes."""

    def __init__(self, core: Core, room: WaitingRoom) -> None:
        self._core = core
        self._room = room
        self._thread = Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """Send every waiting slot away and end the thread, or let it end in its own time."""
        self._room.close()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        swept = time.monotonic()
        # What changes while a round goes on is news, and makes another.
        while not self._room.is_closed:
            nothing: set[str] = set()
            for waiting in self._room.next(TICK_SECONDS):
                if self._room.call(waiting):
                    self._serve(waiting, nothing)
            if time.monotonic() - swept >= TICK_SECONDS:
                self._sweep()
                swept = time.monotonic()

    def _serve(self, waiting: Waiting, nothing: set[str]) -> None:
        """Serve a slot; `nothing` names the searches that had none for the slots before it."""
        began = time.monotonic()
        try:
            assignment = find_work(self._core, waiting.request, nothing)
        except ServiceError as error:
            waiting.answer.set_exception(error)
        except Exception as error:
            # The edge of the thread: one search that breaks must not end it, or every worker
            # would wait for ever. Its study was dropped on the way.
            log.exception("could not find work for worker %s", waiting.request.worker)
            waiting.answer.set_exception(error)
        else:
            if assignment is None:
                self._room.come_back(waiting)
            else:
                self._core.metrics.asks.observe(time.monotonic() - began)
                self._core.metrics.queue_wait.observe(time.monotonic() - waiting.since)
                waiting.answer.set_result(assignment)

    def _sweep(self) -> None:
        try:
            sweep(self._core)
        except Exception:
            # As above: what could not be ended now is looked at again in a moment.
            log.exception("could not end overdue attempts")
