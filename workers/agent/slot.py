"""The attempts that run in the slots of an agent."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from search_space.contract import Assignment
from workers.attempt.lease_files import AttemptFiles
from workers.executors.base import TrialProcess

logger = logging.getLogger(__name__)

# A script may close files and draw figures after its outcome was sent, but not for ever.
_FINISHING_SECONDS = 300.0


@dataclass(slots=True)
class SlotAttempt:
    """One attempt in a slot, and its process once there is one.

    Attributes:
        cancelled: Whether the service does not want its outcome any more.
        outcome_seen_at: When the agent first saw that its outcome was sent; a monotonic time.
    """

    assignment: Assignment
    files: AttemptFiles
    process: TrialProcess | None = None
    cancelled: bool = False
    outcome_seen_at: float | None = None

    @property
    def is_placed(self) -> bool:
        return self.process is not None and self.process.is_placed

    @property
    def is_place_gone(self) -> bool:
        return self.process is not None and self.process.is_place_gone

    def is_finishing(self) -> bool:
        """Whether the process has sent its outcome, and still has time to end by itself."""
        # The process removes the lease file when it has sent its outcome.
        if self.files.lease.exists():
            return False
        self.outcome_seen_at = self.outcome_seen_at or time.monotonic()
        return time.monotonic() < self.outcome_seen_at + _FINISHING_SECONDS

    def cancel(self) -> None:
        """Kill the process; its outcome is not sent."""
        # In this order: a slot that starts the process at this moment sees the flag afterwards.
        self.cancelled = True
        if self.process is not None:
            self.process.kill()


class RunningAttempts:
    """The attempts of all slots, by lease. Safe to use from several threads."""

    def __init__(self) -> None:
        self._attempts: dict[str, SlotAttempt] = {}
        self._changed = threading.Condition()

    @contextmanager
    def holding(self, attempt: SlotAttempt) -> Iterator[None]:
        """Count `attempt` among the running ones; heartbeats renew its lease meanwhile."""
        lease = attempt.assignment.lease
        with self._changed:
            self._attempts[lease] = attempt
        try:
            yield
        finally:
            with self._changed:
                del self._attempts[lease]
                self._changed.notify_all()

    def snapshot(self) -> Mapping[str, SlotAttempt]:
        """Return the attempts that run at this moment, by lease."""
        with self._changed:
            return dict(self._attempts)

    def cancel(self, lease: str) -> None:
        """Kill an attempt that the service has cancelled."""
        attempt = self.snapshot().get(lease)
        # A cancelled lease is also what a completed attempt has until its process has ended.
        if attempt is not None and not attempt.is_finishing():
            logger.info("trial %s: cancelled", attempt.assignment.trial)
            attempt.cancel()

    def end_earlier_attempts(self, assignment: Assignment) -> None:
        """End earlier attempts at the same trial, and wait until they are gone.

        The service gives a trial a new attempt while it cannot reach this worker. The old attempt
        can report nothing any more, and would use the trial's folder together with the new one.
        """
        earlier = {
            lease: attempt
            for lease, attempt in self.snapshot().items()
            if attempt.assignment.trial == assignment.trial
            and attempt.assignment.attempt < assignment.attempt
        }
        for attempt in earlier.values():
            logger.info(
                "trial %s: attempt %d was superseded", assignment.trial, attempt.assignment.attempt
            )
            attempt.cancel()
        with self._changed:
            self._changed.wait_for(lambda: earlier.keys().isdisjoint(self._attempts))

    def end_all(self, *, grace: float, timeout: float) -> None:
        """End every process: SIGTERM, and SIGKILL after `grace` seconds.

        Returns when all attempts have ended, or after `timeout` further seconds.
        """
        processes = [each.process for each in self.snapshot().values() if each.process]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + grace
        for process in processes:
            if process.wait(max(0.0, deadline - time.monotonic())) is None:
                process.kill()
        with self._changed:
            self._changed.wait_for(lambda: not self._attempts, timeout=timeout)
