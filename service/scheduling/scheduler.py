"""The thread that gives work to waiting slots, in the order in which they asked."""

import logging
import time
from threading import Thread

from service.errors import ServiceError
from service.runtime.context import Context
from service.runtime.lease_queue import LeaseQueue, WaitingSlot
from service.scheduling.assignments import find_work
from service.trials.timeouts import end_overdue_attempts

TICK_SECONDS = 1.0
"""How often the scheduler runs without a notification: leases expire, attempts stall."""

log = logging.getLogger(__name__)


class Scheduler:
    """Assigns work to slots. Start it once; stop it before the database closes."""

    def __init__(self, context: Context, lease_queue: LeaseQueue) -> None:
        self._context = context
        self._queue = lease_queue
        self._thread = Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """Answer every waiting slot with None and end the thread; return at once unless `wait`."""
        self._queue.close()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        swept = time.monotonic()
        # A change during a round notifies the queue, so that the next round begins at once.
        while not self._queue.is_closed:
            # For one round only: what has no work now may have some in the next.
            without_work: set[str] = set()
            for waiting in self._queue.wait(TICK_SECONDS):
                if self._queue.claim(waiting):
                    self._serve(waiting, without_work)
            if time.monotonic() - swept >= TICK_SECONDS:
                self._sweep()
                swept = time.monotonic()

    def _serve(self, waiting: WaitingSlot, without_work: set[str]) -> None:
        """Answer a slot with work, or put it back into the queue."""
        began = time.monotonic()
        try:
            assignment = find_work(self._context, waiting.request, without_work)
        except ServiceError as error:
            waiting.answer.set_exception(error)
        except Exception as error:
            # Without this an error in one search would end the thread, and every worker would wait
            # for ever.
            log.exception("could not find work for worker %s", waiting.request.worker)
            waiting.answer.set_exception(error)
        else:
            if assignment is None:
                self._queue.requeue(waiting)
            else:
                self._context.metrics.asks.observe(time.monotonic() - began)
                self._context.metrics.queue_wait.observe(time.monotonic() - waiting.queued_at)
                waiting.answer.set_result(assignment)

    def _sweep(self) -> None:
        try:
            end_overdue_attempts(self._context)
        except Exception:
            # The next sweep tries again.
            log.exception("could not end overdue attempts")
