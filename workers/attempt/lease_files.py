"""What an attempt leaves on the machine that runs its agent."""

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from search_space.contract import LeaseFile, Outcome
from workers.attempt.outbox import hand_in_for_the_dead, mark_of, said_in
from workers.errors import ServiceError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one attempt; all but the log lie beside the lease file."""

    lease: Path
    log: Path

    def write_lease(self, content: LeaseFile) -> None:
        """Write the lease file, which holds a token, for this user alone."""
        descriptor = os.open(self.lease, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content.model_dump_json())

    def hand_in(self) -> None:
        """Upload the checkpoint of a process that died, for its next attempt to go on from."""
        try:
            hand_in_for_the_dead(self.lease)
        except ServiceError as error:
            logger.warning("a checkpoint was not handed in: %s", error)

    def said(self) -> Outcome | None:
        """Return the last word that the process has told itself."""
        with contextlib.suppress(FileNotFoundError):
            return Outcome.model_validate_json(said_in(self.lease).read_bytes())
        return None

    def first_checkpoint(self) -> float:
        """Return when the first checkpoint was kept; now, if none was."""
        with contextlib.suppress(FileNotFoundError):
            return mark_of(self.lease).stat().st_mtime
        return time.time()

    def remove(self) -> None:
        for path in (self.log, *self.lease.parent.glob(f"{self.lease.stem}.*")):
            path.unlink(missing_ok=True)
