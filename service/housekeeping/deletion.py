"""Deleting searches: marked at once, deleted piece by piece in the background by plain SQL.

A piece is small enough that whoever else writes hardly waits. A service that is stopped in
between goes on when it starts again.
"""

import logging
from threading import Event, Thread

from service.runtime.context import Context
from service.runtime.unit_of_work import unit_of_work
from service.store import deletion, searches
from service.store.artifacts import ArtifactStore
from service.store.database import Database

PIECE = 500
"""Trials that are deleted in one transaction."""

BREATH_SECONDS = 0.05
"""Between two pieces: SQLite's other writers look at growing intervals whether it is free."""

RETRY_SECONDS = 10.0

log = logging.getLogger(__name__)


def mark(context: Context, search_id: str) -> None:
    """Make a search vanish for everyone; its running trials are told so at their next word.

    Raises:
        NotFound: If there is no such search.
    """
    with unit_of_work(context, search_id) as unit:
        deletion.mark(unit.session, unit.search)
    context.studies.discard(search_id)
    context.publish(makes_work=True)
    context.delete()


class Deleter:
    """The thread that deletes what is marked. Start it once; stop it before the database closes."""

    def __init__(self) -> None:
        self._news = Event()
        self._closed = False
        self._thread: Thread | None = None

    def wake(self) -> None:
        """Say that something was marked; any thread may."""
        self._news.set()

    def start(self, context: Context) -> None:
        """Delete what is marked, first what a service left that was stopped."""
        self._thread = Thread(target=self._run, args=(context,), name="deleter", daemon=True)
        self._news.set()
        self._thread.start()

    def stop(self, *, wait: bool) -> None:
        """End after the piece that is being deleted; wait for that, or not."""
        self._closed = True
        self._news.set()
        if wait and self._thread is not None:
            self._thread.join()

    def _run(self, context: Context) -> None:
        while self._news.wait() and not self._closed:
            self._news.clear()
            try:
                self._delete_marked(context)
            except Exception:
                # The edge of the thread: what could not be deleted now is tried again later.
                log.exception("could not delete what is marked")
                if not self._news.wait(RETRY_SECONDS):
                    self._news.set()

    def _delete_marked(self, context: Context) -> None:
        with context.database.read() as session:
            marked = searches.marked(session)
        for search_id in marked:
            while not self._closed and delete_piece(context.database, context.artifacts, search_id):
                self._news.wait(BREATH_SECONDS)
            context.studies.remove(search_id)


def delete_piece(database: Database, artifacts: ArtifactStore, search_id: str) -> bool:
    """Delete some of a marked search, with its files; return whether more is left."""
    with artifacts.lock:
        with database.write() as session:
            unused, is_left = deletion.delete_piece(session, search_id, trials=PIECE)
        for sha256 in unused:
            artifacts.discard(sha256)
    return is_left
