"""Leads the store with this process, or stands by until the leader is gone.

While this process is the leader it has a term: the live studies, the scheduler, and a view of the
store that writes only while no other process has become the leader. A new term begins with nothing
in memory.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from service.errors import StandingBy, StoreAway
from service.runtime.context import Context
from service.runtime.lease_queue import LeaseQueue
from service.store.database import Database
from service.store.election import LeaderElection

_RENEWALS_PER_PERIOD = 3
_MAX_RETRY_SECONDS = 1.0
"""Longest pause between two tries: a process that stands by replaces a dead leader within it."""

log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A thread that runs for one term."""

    def stop(self, *, wait: bool) -> None: ...


@dataclass(frozen=True)
class Term:
    """What exists while this process is the leader."""

    epoch: int | None
    context: Context
    lease_queue: LeaseQueue
    threads: Sequence[Stoppable]

    def answer_long_polls(self) -> None:
        """End every request that waits: those of followers of events, and those of slots."""
        self.context.notifier.close()
        self.context.log_notifier.close()
        self.lease_queue.close()

    def end(self, *, wait: bool) -> None:
        self.answer_long_polls()
        for thread in self.threads:
            thread.stop(wait=wait)


class Leader:
    """Begins and ends the terms of this process.

    Args:
        begin_term: Makes the parts of a term, for the epoch that it is given.
        seconds: How long leadership lasts after it was last renewed.
    """

    def __init__(
        self, database: Database, begin_term: Callable[[int | None], Term], seconds: float
    ) -> None:
        self._begin_term = begin_term
        self._seconds = seconds
        self._election: LeaderElection | None = None
        if database.is_shared:
            holder = f"{socket.gethostname()}:{os.getpid()}"
            self._election = LeaderElection(database.engine, holder, seconds)
        self._term: Term | None = None
        self._valid_until = float("inf")
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="leader", daemon=True)

    @property
    def term(self) -> Term:
        """The term of this process.

        Raises:
            StandingBy: While another process is the leader.
            StoreAway: If this process could not renew its term in time, or was suspended: another
                one may have become the leader.
        """
        term = self._term
        if term is None:
            raise StandingBy
        if time.monotonic() > self._valid_until:
            raise StoreAway
        return term

    def start(self) -> None:
        """Become the leader if there is none, else stand by, and go on trying in a thread."""
        if self._election is None:
            self._term = self._begin_term(None)
            return
        self._acquire_or_renew(self._election)
        if self._term is None:
            log.info("another process is the leader of the store; standing by")
        self._thread.start()

    def answer_long_polls(self) -> None:
        if self._term is not None:
            self._term.answer_long_polls()

    async def close(self) -> None:
        """End the term, and let the next leader begin at once."""
        self._stopping.set()
        if self._election is not None:
            await asyncio.to_thread(self._thread.join)
        if self._term is not None:
            await asyncio.to_thread(self._term.end, wait=True)
            self._term = None
        # Only now: a new leader must not begin while a thread of this term may still write.
        if self._election is not None:
            self._release(self._election)

    def _run(self) -> None:
        pause = min(self._seconds / _RENEWALS_PER_PERIOD, _MAX_RETRY_SECONDS)
        assert self._election is not None
        while not self._stopping.wait(pause):
            try:
                self._acquire_or_renew(self._election)
            except SQLAlchemyError as error:
                # The term goes on until `_valid_until`; after that, `term` raises.
                log.warning("could not renew or acquire leadership: %s", error)
            except Exception:
                # Without this the thread would end, and this process would never lead again.
                log.exception("could not begin a term")

    def _acquire_or_renew(self, election: LeaderElection) -> None:
        """Acquire or renew leadership, and begin or end the term by the result."""
        # Measured before the statement: the database's own period begins later, so this process
        # stops before another one can take over.
        asked = time.monotonic()
        epoch = election.acquire_or_renew()
        if self._term is not None and self._term.epoch != epoch:
            log.warning("another process has become the leader of the store; standing by")
            # Without waiting: a thread may be busy, and the epoch check refuses its writes anyway.
            self._term.end(wait=False)
            self._term = None
        if epoch is not None:
            self._valid_until = asked + self._seconds
            if self._term is None:
                self._term = self._begin_term(epoch)
                log.info("this process is the leader of the store, in epoch %d", epoch)

    def _release(self, election: LeaderElection) -> None:
        try:
            election.release()
        except SQLAlchemyError as error:
            log.warning("could not release leadership, which now has to expire: %s", error)
        election.disconnect()
