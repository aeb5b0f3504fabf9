"""One thread that serves the slots waiting for work, in the order in which they asked.

A long poll is a future in a list: it holds no thread, no session and no transaction.
"""

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from search_space.contract import Assignment, LeaseRequest
from service.core import Core
from service.handout import find_work
from service.words import sweep

TICK_SECONDS = 1.0
"""How often time alone may change what there is to do: leases run out, attempts stall."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Waiting:
    """A slot's request, until it is answered; a withdrawn one is answered with None."""

    request: LeaseRequest
    answer: "Future[Assignment | None]" = field(default_factory=Future)
    withdrawn: bool = False


class Scheduler:
    """Hands out work. Start it once; stop it before the database closes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._changed = Condition()
        self._waiting: list[Waiting] = []
        self._news = False
        self._stopping = False
        self._thread = Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send every waiting slot away and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def ask(self, request: LeaseRequest) -> Waiting:
        """Enter a request; its answer comes when there is work for it."""
        waiting = Waiting(request)
        with self._changed:
            self._waiting.append(waiting)
            self._news = True
            self._changed.notify()
        return waiting

    def withdraw(self, waiting: Waiting) -> None:
        """Take a request back; its answer comes at once, and may still be work."""
        with self._changed:
            waiting.withdrawn = True
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                waiting.answer.set_result(None)

    def wake(self) -> None:
        """Say that there may be work now that was not there before."""
        with self._changed:
            self._news = True
            self._changed.notify()

    def _run(self) -> None:
        while not self._stopping:
            with self._changed:
                if not self._news:
                    self._changed.wait(TICK_SECONDS)
                self._news = False
            # The edge of the thread: one request or search that breaks must not end it, or
            # every worker would wait for ever. The study at fault was dropped on the way.
            try:
                sweep(self._core)
            except Exception:
                log.exception("could not end overdue attempts")
            for waiting in self._taken():
                self._serve(waiting)
        for waiting in self._taken():
            waiting.answer.set_result(None)

    def _taken(self) -> list[Waiting]:
        with self._changed:
            taken, self._waiting = self._waiting, []
        return taken

    def _serve(self, waiting: Waiting) -> None:
        try:
            assignment = find_work(self._core, waiting.request)
        except Exception as error:
            log.exception("could not find work for worker %s", waiting.request.worker)
            waiting.answer.set_exception(error)
            return
        with self._changed:
            if assignment is None and not waiting.withdrawn:
                self._waiting.append(waiting)
                return
        waiting.answer.set_result(assignment)
