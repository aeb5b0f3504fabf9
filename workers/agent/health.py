"""When a worker stops leasing because its trials fail."""

from search_space.contract import FailureClass, Outcome

# Failures that the worker may cause. The trial itself, or nobody, causes all others.
_WORKERS_FAULT = (FailureClass.LOST, FailureClass.ENVIRONMENT)


class CircuitBreaker:
    """Counts the different trials in a row that failed by the worker's fault.

    Several failures of one trial count once: the trial may be the cause.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: set[str] = set()

    def record(self, trial: str, outcome: Outcome) -> str | None:
        """Count the outcome of an attempt; return why to stop leasing, or None to go on."""
        # A preempted attempt shows neither that the worker works nor that it fails.
        if outcome.failure is FailureClass.PREEMPTED:
            return None
        if outcome.failure not in _WORKERS_FAULT:
            self._failed.clear()
            return None
        self._failed.add(trial)
        if len(self._failed) < self._limit:
            return None
        first = next(iter(outcome.message.strip().splitlines()), "no reason was given")
        return (
            f"{self._limit} trials in a row failed here, the last with: {first}; "
            "fix the cause, then start the worker again"
        )
