"""One thread that serves the slots waiting for work, in the order in which they asked.

A long poll is a future in a list: it holds no thread, no session and no transaction.
"""

import logging
import time
from threading import Thread

from service.errors import ServiceError
from service.runtime.context import Context
from service.runtime.lease_queue import LeaseQueue, WaitingSlot
from service.scheduling.assignments import find_work
from service.trials.outcomes import end_overdue_attempts

TICK_SECONDS = 1.0
"""How often time alone may change what there is to do: leases run out, attempts stall."""

log = logging.getLogger(__name__)


class Scheduler:
    """Hands out work. Start it once; stop it before the database closes."""

    def __init__(self, context: Context, lease_queue: LeaseQueue) -> None:
        self._core = context
        self._queue = lease_queue
        self._thread = Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """Send every waiting slot away and end the thread, or let it end in its own time."""
        self._queue.close()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        swept = time.monotonic()
        # What changes while a round goes on is news, and makes another.
        while not self._queue.is_closed:
            nothing: set[str] = set()
            for waiting in self._queue.next(TICK_SECONDS):
                if self._queue.call(waiting):
                    self._serve(waiting, nothing)
            if time.monotonic() - swept >= TICK_SECONDS:
                self._sweep()
                swept = time.monotonic()

    def _serve(self, waiting: WaitingSlot, nothing: set[str]) -> None:
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
                self._queue.come_back(waiting)
            else:
                self._core.metrics.asks.observe(time.monotonic() - began)
                self._core.metrics.queue_wait.observe(time.monotonic() - waiting.since)
                waiting.answer.set_result(assignment)

    def _sweep(self) -> None:
        try:
            end_overdue_attempts(self._core)
        except Exception:
            # As above: what could not be ended now is looked at again in a moment.
            log.exception("could not end overdue attempts")
