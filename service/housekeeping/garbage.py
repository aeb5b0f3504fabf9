"""Garbage collection: deletes files that no row names, and files beyond their retention.

A file that is replaced is deleted at once. What is left is from uploads and deletions that were
interrupted, and from trials whose checkpoints and weights are no longer kept.
"""

import logging
from functools import partial

from service.housekeeping.retention import apply_retention
from service.runtime.background import BackgroundThread
from service.runtime.context import Context
from service.store import trials

_RUNS_PER_GRACE = 2

log = logging.getLogger(__name__)


class GarbageCollector:
    """The thread that collects garbage. Stop it before the database closes."""

    def __init__(self) -> None:
        self._thread = BackgroundThread("garbage collector")

    def start(self, context: Context) -> None:
        grace = context.settings.artifact_grace_seconds
        self._thread.start(partial(self._collect, context, grace), interval=grace / _RUNS_PER_GRACE)

    def stop(self, *, wait: bool) -> None:
        """End after the file that is being checked; wait for that, or not."""
        self._thread.stop(wait=wait)

    def _collect(self, context: Context, grace: float) -> None:
        context.artifacts.forget_incoming(grace)
        apply_retention(context, seconds=grace)
        # Younger files are left alone: an upload stores its file before its row.
        for sha256 in context.artifacts.older_than(grace):
            if self._thread.stops_within(0):
                return
            with context.artifacts.lock, context.database.write() as session:
                if not trials.is_named(session, sha256):
                    context.artifacts.discard(sha256)
                    log.info("deleted file %s, which no row names", sha256)
