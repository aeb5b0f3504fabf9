"""The deadline of a worker: when the scheduler of a cluster ends its job."""

import math
import time
from datetime import datetime

from workers.errors import BadSetting

_EXAMPLES = "seconds since the epoch, or a time such as 2030-01-31T18:00 (of this machine's zone)"


def read_time(text: str) -> float:
    """Return a time in seconds since the epoch. Raises `BadSetting`."""
    try:
        return float(text) if text.isdecimal() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadSetting("--until", text, _EXAMPLES) from error


class Deadline:
    """Says when it is too late to lease a trial, because it would not reach its first checkpoint.

    Args:
        until: Seconds since the epoch; infinity: there is no deadline.
        grace: Seconds before the deadline at which running trials are ended.
        margin: Seconds that a trial is assumed to need for its first checkpoint at least.
    """

    def __init__(
        self, until: float = math.inf, *, grace: float = 0.0, margin: float = 60.0
    ) -> None:
        self._end = until - grace
        self._until = until
        self._margin = margin
        self._longest = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until running trials are ended."""
        return self._end - time.time()

    @property
    def seconds_to_lease(self) -> float:
        """Seconds in which a trial may still be leased; 0 or less: it is too late."""
        # The longest attempt so far, and half as much again: trials differ in size.
        return self.seconds_left - max(self._margin, 1.5 * self._longest)

    @property
    def reason(self) -> str:
        end = datetime.fromtimestamp(self._until).astimezone().isoformat(timespec="seconds")
        return f"its time ends at {end}, too soon for another trial to reach a checkpoint"

    def record(self, seconds: float) -> None:
        """Record how long an attempt took to its first checkpoint, or to its end."""
        self._longest = max(self._longest, seconds)
