"""One attempt in a slot of the agent."""

import time
from dataclasses import dataclass

from search_space.contract import Assignment
from workers.attempt.lease_files import Files
from workers.executors.base import Running

# What a script does after its last word, as closing files and drawing, is its own; not for ever.
_AFTERWORD_SECONDS = 300.0


@dataclass(slots=True)
class Work:
    """One attempt in a slot, and its process once there is one."""

    assignment: Assignment
    files: Files
    running: Running | None = None
    cancelled: bool = False
    spoke_at: float | None = None

    @property
    def is_placed(self) -> bool:
        return self.running is not None and self.running.is_placed

    @property
    def is_place_gone(self) -> bool:
        return self.running is not None and self.running.is_place_gone

    def is_in_afterword(self) -> bool:
        """Say whether the process has said its last word, and still has time to end by itself."""
        if self.files.lease.exists():
            return False
        self.spoke_at = self.spoke_at or time.monotonic()
        return time.monotonic() < self.spoke_at + _AFTERWORD_SECONDS
