"""Deletion of searches: marked at once, deleted in small batches in the background by plain SQL.

A batch is so small that other writers hardly wait. A service that is stopped between two batches
continues when it starts again.
"""

from functools import partial

from service.runtime.background import BackgroundThread
from service.runtime.context import Context
from service.runtime.unit_of_work import unit_of_work
from service.store import deletion, searches
from service.store.artifacts import ArtifactStore
from service.store.database import Database

TRIALS_PER_BATCH = 500
"""Trials that are deleted in one transaction."""

PAUSE_SECONDS = 0.05
"""Pause between two batches: other writers of SQLite poll for its lock, at growing intervals."""


def mark(context: Context, search_id: str) -> None:
    """Hide a search at once and delete it later; its running trials are stopped at their next call.

    Raises:
        NotFound: If there is no such search.
    """
    with unit_of_work(context, search_id) as unit:
        deletion.mark(unit.session, unit.search)
    context.studies.discard(search_id)
    context.publish(makes_work=True)
    context.delete()


class Deleter:
    """The thread that deletes marked searches. Stop it before the database closes."""

    def __init__(self) -> None:
        self._thread = BackgroundThread("deleter")

    def wake(self) -> None:
        """Look for marked searches soon. Callable from any thread; does not block."""
        self._thread.wake()

    def start(self, context: Context) -> None:
        """Delete marked searches, first those that the last service left behind."""
        self._thread.wake()
        self._thread.start(partial(self._delete_marked, context))

    def stop(self, *, wait: bool) -> None:
        """End after the current batch; wait for that, or not."""
        self._thread.stop(wait=wait)

    def _delete_marked(self, context: Context) -> None:
        with context.database.read() as session:
            marked = searches.marked(session)
        for search_id in marked:
            while delete_batch(context.database, context.artifacts, search_id):
                if self._thread.stops_within(PAUSE_SECONDS):
                    return
            context.studies.remove(search_id)


def delete_batch(database: Database, artifacts: ArtifactStore, search_id: str) -> bool:
    """Delete a batch of trials of a marked search, with their files; return whether more are left.

    Together with the last batch the search itself is deleted.
    """
    # The lock keeps an upload from naming a file between the transaction and its deletion.
    with artifacts.lock:
        with database.write() as session:
            unused, is_left = deletion.delete_piece(session, search_id, trials=TRIALS_PER_BATCH)
        for sha256 in unused:
            artifacts.discard(sha256)
    return is_left
