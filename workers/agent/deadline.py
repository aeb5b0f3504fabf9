"""The end of a worker's time, as a cluster's scheduler has set it."""

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
    """Says when it is too late to lease: when no trial would come to its first checkpoint.

    Args:
        until: Seconds since the epoch; infinity: there is no end.
        grace: Seconds before the end at which running trials are told to hand in.
        margin: What a trial is thought to need for its first checkpoint as long as none was seen.
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
        """Until running trials are told to hand in."""
        return self._end - time.time()

    @property
    def seconds_to_lease(self) -> float:
        """How long it makes sense to go on waiting for work."""
        return self.seconds_left - max(self._margin, 1.5 * self._longest)

    @property
    def reason(self) -> str:
        end = datetime.fromtimestamp(self._until).astimezone().isoformat(timespec="seconds")
        return f"its time ends at {end}, too soon for another trial to come to a checkpoint"

    def note(self, seconds: float) -> None:
        """Take in how long an attempt took to its first checkpoint, or to its end."""
        self._longest = max(self._longest, seconds)
