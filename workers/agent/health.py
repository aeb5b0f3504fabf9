"""Whether a worker is fit to go on, told by how its last trials ended."""

from search_space.contract import FailureClass, Outcome

# What speaks against the worker; everything else is the trial's own fault, or nobody's.
_WORKERS_OWN = (FailureClass.LOST, FailureClass.ENVIRONMENT)


class Health:
    """Counts the different trials in a row that failed for reasons of the worker's own.

    One trial that fails again and again is one: it may be the one that is sick.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed: set[str] = set()

    def note(self, trial: str, outcome: Outcome) -> str | None:
        """Take in how an attempt ended, and return why nothing more should be leased, if so."""
        if outcome.failure is FailureClass.PREEMPTED:
            return None
        if outcome.failure not in _WORKERS_OWN:
            self._failed.clear()
            return None
        self._failed.add(trial)
        if len(self._failed) < self._limit:
            return None
        first = next(iter(outcome.message.strip().splitlines()), "no reason was given")
        return (
            f"{self._limit} trials in a row failed here, the last with: {first}; "
            "mend it, then start the worker again"
        )
