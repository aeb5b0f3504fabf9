"""Deletes files that are kept no longer, and those that no row names: what was left by an upload
or a deletion that broke off.

What is replaced or deleted in the ordinary way is deleted at once; this is for the rest.
"""

import logging
from threading import Event, Thread

from service.housekeeping.retention import retire
from service.runtime.context import Context
from service.store import trials

_TIMES_A_GRACE = 2

log = logging.getLogger(__name__)


class GarbageCollector:
    """The thread that collects. Start it once."""

    def __init__(self) -> None:
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self, context: Context) -> None:
        self._thread = Thread(target=self._run, args=(context,), name="collector", daemon=True)
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """End after the file that is being looked at; wait for that, or not."""
        self._stopping.set()
        if wait and self._thread is not None:
            self._thread.join()

    def _run(self, context: Context) -> None:
        grace = context.settings.artifact_grace_seconds
        while not self._stopping.wait(grace / _TIMES_A_GRACE):
            try:
                self._collect(context, grace)
            except Exception:
                # The edge of the thread: what could not be deleted now is looked at again.
                log.exception("could not collect files that are kept no longer")

    def _collect(self, context: Context, grace: float) -> None:
        context.artifacts.forget_incoming(grace)
        retire(context, seconds=grace)
        for sha256 in context.artifacts.older_than(grace):
            if self._stopping.is_set():
                return
            with context.artifacts.lock, context.database.write() as session:
                if not trials.is_named(session, sha256):
                    context.artifacts.discard(sha256)
                    log.info("collected %s, which nothing names", sha256)
