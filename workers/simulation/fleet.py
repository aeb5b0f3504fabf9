"""Many simulated workers in one process."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from workers.attempt.http import Wire
from workers.errors import ServiceError
from workers.simulation.answers import Answers
from workers.simulation.table import Table
from workers.simulation.worker import Behaviour, SimulatedWorker, Tally

logger = logging.getLogger(__name__)

# Two beats may be lost before a lease runs out.
_BEATS_PER_LEASE = 3
_BEATS_AT_ONCE = 16
_LAST_WORDS_SECONDS = 10.0


class _Stopping(Exception):
    """The fleet was told to stop while a worker waited for the service."""


class Fleet:
    """So many workers on one service: a thread for each, and a few for all heartbeats.

    Args:
        seed: Of deaths and lost answers.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        table: Table,
        behaviour: Behaviour,
        *,
        workers: int,
        seed: int = 0,
    ) -> None:
        self._stop = threading.Event()
        self._fatal: Exception | None = None
        self._wire = Wire(url, token, pause=self._pause)
        answers = Answers(table)
        self._workers = [
            SimulatedWorker(
                self._wire,
                table,
                answers,
                behaviour,
                random=Random(f"{seed}/{index}"),
                stop=self._stop,
            )
            for index in range(workers)
        ]

    def run(self) -> None:
        """Serve until `stop`. Raises what no worker can go on from, as `NotWelcome`."""
        loops = [self._beat, *(worker.run for worker in self._workers)]
        threads = [self._thread(loop) for loop in loops]
        logger.info("%d simulated workers serve %s", len(self._workers), self._wire.url)
        self._stop.wait()
        self._take_leave()
        for thread in threads:
            thread.join(_LAST_WORDS_SECONDS)
        self._wire.close()
        logger.info("%s", self.tally())
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Hand back what is running and return from `run`. Callable from anywhere."""
        self._stop.set()

    def tally(self) -> Tally:
        """Return what all workers have done together."""
        tallies = [worker.tally for worker in self._workers]
        return Tally(
            trainings=sum(tally.trainings for tally in tallies),
            reports=sum(tally.reports for tally in tallies),
            deaths=sum(tally.deaths for tally in tallies),
            lost=sum(tally.lost for tally in tallies),
        )

    def _thread(self, loop: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(loop,), daemon=True)
        thread.start()
        return thread

    def _guarded(self, loop: Callable[[], None]) -> None:
        """Run `loop`; an error in it ends the fleet, so that no worker is missed unseen."""
        try:
            loop()
        except _Stopping:
            pass
        except Exception as error:
            self._fatal = error
            self._stop.set()

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopping

    def _beat(self) -> None:
        # Several at once: on a busy service a beat may take a part of a second.
        with ThreadPoolExecutor(_BEATS_AT_ONCE) as pool:
            while not self._stop.wait(self._workers[0].lease_seconds / _BEATS_PER_LEASE):
                list(pool.map(SimulatedWorker.beat, self._workers))

    def _take_leave(self) -> None:
        try:
            for worker in self._workers:
                worker.leave()
        except (ServiceError, _Stopping) as error:
            logger.info("leaving without a word: %s", error)
