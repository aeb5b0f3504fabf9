"""The files of an attempt on the machine that runs its agent."""

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from search_space.contract import LeaseFile, Outcome
from workers.attempt.outbox import (
    checkpoint_marker_of,
    outcome_file_of,
    upload_checkpoint_of,
)
from workers.errors import ServiceError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """The files of one attempt; all but the log are beside the lease file."""

    lease: Path
    log: Path

    def write_lease(self, content: LeaseFile) -> None:
        """Write the lease file, readable by this user only: it holds a token."""
        # The mode is given at creation; a later chmod would leave a moment to read the token.
        descriptor = os.open(self.lease, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content.model_dump_json())

    def upload_checkpoint(self) -> None:
        """Upload the checkpoint of a process that died, for the next attempt to resume from."""
        try:
            upload_checkpoint_of(self.lease)
        except ServiceError as error:
            logger.warning("a checkpoint was not uploaded: %s", error)

    def sent_outcome(self) -> Outcome | None:
        """Return the outcome that the process has sent to the service itself."""
        with contextlib.suppress(FileNotFoundError):
            return Outcome.model_validate_json(outcome_file_of(self.lease).read_bytes())
        return None

    def first_checkpoint_at(self) -> float:
        """Return when the first checkpoint was saved, in seconds since the epoch; else now."""
        with contextlib.suppress(FileNotFoundError):
            return checkpoint_marker_of(self.lease).stat().st_mtime
        return time.time()

    def remove(self) -> None:
        for path in (self.log, *self.lease.parent.glob(f"{self.lease.stem}.*")):
            path.unlink(missing_ok=True)
