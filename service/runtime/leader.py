"""Being the owner of the store, or standing by.

While this process is the owner it has a term: the live studies, the scheduler, and a view of the
store that writes only as long as nobody else has taken over. A new term begins with nothing
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
from service.store.election import Claim

_LOOKS_PER_LEASE = 3
_LONGEST_LOOK_SECONDS = 1.0
"""How long those that stand by wait between two looks: a dead owner is followed within it."""

log = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A thread that works while the term lasts."""

    def stop(self, *, wait: bool) -> None: ...


@dataclass(frozen=True)
class Term:
    """What lives while this process is the owner."""

    epoch: int | None
    context: Context
    lease_queue: LeaseQueue
    threads: Sequence[Stoppable]

    def release_waiters(self) -> None:
        """Answer everyone who waits: followers of events, and slots."""
        self.context.notifier.close()
        self.context.log_notifier.close()
        self.lease_queue.close()

    def end(self, *, wait: bool) -> None:
        self.release_waiters()
        for thread in self.threads:
            thread.stop(wait=wait)


class Leader:
    """Begins and ends the terms of this process.

    Args:
        begin: Makes the parts of a term, for the epoch that it is given.
        seconds: How long an owner may be silent.
    """

    def __init__(
        self, database: Database, begin: Callable[[int | None], Term], seconds: float
    ) -> None:
        self._begin = begin
        self._seconds = seconds
        self._claim: Claim | None = None
        if database.is_shared:
            holder = f"{socket.gethostname()}:{os.getpid()}"
            self._claim = Claim(database.engine, holder, seconds)
        self._term: Term | None = None
        self._lasts_until = float("inf")
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="leader", daemon=True)

    @property
    def term(self) -> Term:
        """The term of this process.

        Raises:
            StandingBy: While another process is the owner.
            StoreAway: If this one could not renew its term in time, or was stopped for long: it
                does not know whether it has been followed.
        """
        term = self._term
        if term is None:
            raise StandingBy
        if time.monotonic() > self._lasts_until:
            raise StoreAway
        return term

    def open(self) -> None:
        """Become the owner if nobody else is, else stand by and take over in time."""
        if self._claim is None:
            self._term = self._begin(None)
            return
        self._look(self._claim)
        if self._term is None:
            log.info("another process is the owner of the store; standing by")
        self._thread.start()

    def release_waiters(self) -> None:
        if self._term is not None:
            self._term.release_waiters()

    async def close(self) -> None:
        """End the term, and make way for the next owner."""
        self._stopping.set()
        if self._claim is not None:
            await asyncio.to_thread(self._thread.join)
        if self._term is not None:
            await asyncio.to_thread(self._term.end, wait=True)
            self._term = None
        if self._claim is not None:
            self._resign(self._claim)

    def _run(self) -> None:
        pause = min(self._seconds / _LOOKS_PER_LEASE, _LONGEST_LOOK_SECONDS)
        assert self._claim is not None
        while not self._stopping.wait(pause):
            try:
                self._look(self._claim)
            except SQLAlchemyError as error:
                # The term goes on until its time is over; then nothing is decided any more.
                log.warning("could not ask who is the owner: %s", error)
            except Exception:
                # The edge of the thread: without it nobody would ever take over.
                log.exception("could not begin a term")

    def _look(self, claim: Claim) -> None:
        """Renew or claim, and act on what comes of it."""
        asked = time.monotonic()
        epoch = claim.hold()
        if self._term is not None and self._term.epoch != epoch:
            log.warning("another process has become the owner of the store; standing by")
            self._term.end(wait=False)
            self._term = None
        if epoch is not None:
            self._lasts_until = asked + self._seconds
            if self._term is None:
                self._term = self._begin(epoch)
                log.info("the owner of the store is this process, in epoch %d", epoch)

    def _resign(self, claim: Claim) -> None:
        try:
            claim.resign()
        except SQLAlchemyError as error:
            log.warning("could not resign; whoever stands by will notice: %s", error)
        claim.let_go()
