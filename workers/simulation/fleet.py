"""Many simulated workers in one process."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from workers.attempt.http import HttpClient
from workers.errors import ServiceError
from workers.simulation.answers import Answers
from workers.simulation.table import Table
from workers.simulation.worker import Behaviour, SimulatedWorker, Tally
from workers.threads import Stopping, ThreadGroup

logger = logging.getLogger(__name__)

# Two heartbeats may be lost before a lease expires.
_HEARTBEATS_PER_LEASE = 3
_HEARTBEATS_AT_ONCE = 16
_STOPPING_SECONDS = 10.0


class Fleet:
    """Simulated workers of one service: a thread for each, and some threads for all heartbeats.

    Args:
        seed: Of simulated crashes and lost answers.
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
        self._threads = ThreadGroup()
        self._client = HttpClient(url, token, pause=self._threads.sleep)
        answers = Answers(table)
        self._workers = [
            SimulatedWorker(
                self._client,
                table,
                answers,
                behaviour,
                random=Random(f"{seed}/{index}"),
                threads=self._threads,
            )
            for index in range(workers)
        ]

    def run(self) -> None:
        """Serve until `stop`. Raises the error that ended a worker, such as `NotWelcome`."""
        loops: list[Callable[[], None]] = [worker.run for worker in self._workers]
        threads = [self._threads.start(loop) for loop in (self._send_heartbeats, *loops)]
        logger.info("%d simulated workers serve %s", len(self._workers), self._client.url)
        self._threads.wait()
        self._deregister()
        for thread in threads:
            thread.join(_STOPPING_SECONDS)
        self._client.close()
        logger.info("%s", self.tally())
        self._threads.raise_error()

    def stop(self) -> None:
        """End all trials as preempted and return from `run`. Callable from any thread."""
        self._threads.stop()

    def tally(self) -> Tally:
        """Return the counts of all workers together."""
        tallies = [worker.tally for worker in self._workers]
        return Tally(
            trainings=sum(tally.trainings for tally in tallies),
            reports=sum(tally.reports for tally in tallies),
            crashes=sum(tally.crashes for tally in tallies),
            lost=sum(tally.lost for tally in tallies),
        )

    def _send_heartbeats(self) -> None:
        # Several at once: on a busy service a heartbeat may take a part of a second.
        with ThreadPoolExecutor(_HEARTBEATS_AT_ONCE) as pool:
            while not self._threads.wait(self._workers[0].lease_seconds / _HEARTBEATS_PER_LEASE):
                list(pool.map(SimulatedWorker.send_heartbeat, self._workers))

    def _deregister(self) -> None:
        try:
            for worker in self._workers:
                worker.deregister()
        except (ServiceError, Stopping) as error:
            logger.info("the workers could not deregister: %s", error)
