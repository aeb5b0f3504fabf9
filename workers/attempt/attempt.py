"""One attempt at a trial, in the trial's own process: its lease and its requests."""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel

from search_space.contract import (
    START,
    Assignment,
    LeaseFile,
    Measurements,
    MeasurementsReply,
    Outcome,
    Report,
    Verdict,
)
from workers.attempt.http import HttpClient
from workers.attempt.outbox import Outbox, outcome_file_of
from workers.attempt.workspace import is_retried
from workers.errors import BadArtifact, LeaseLost

logger = logging.getLogger(__name__)

# A trial survives a restart of the service, and so waits for several times its lease.
_PATIENCE_IN_LEASES = 10
_LEAST_PATIENCE = 120.0
_TRANSFER_SECONDS = 120.0


class AttemptEnded(SystemExit):
    """The attempt is over: leaves the loop, the handle's `with` block and the process, cleanly.

    It is a `SystemExit`, so that no `except Exception` of a training script catches it.

    Attributes:
        outcome: What is still to be sent to the service; None if nothing is.
    """

    def __init__(self, outcome: Outcome | None) -> None:
        super().__init__(0)
        self.outcome = outcome


class Attempt:
    """The attempt that a lease file names, as the service sees it.

    The lease file exists as long as the service waits for the outcome: it is removed when the
    outcome was sent, or when the service does not want it any more. The agent goes by that.

    Attributes:
        directory: The trial's own folder on this worker.
        code: Digest of the code of the trial's task.
        is_rank_zero: Whether this process measures, reports and stores.
        seed_parts: What distinguishes this process's random numbers from those of other ranks.
    """

    is_rank_zero = True
    seed_parts: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        lease = LeaseFile.model_validate_json(path.read_bytes())
        self.assignment: Assignment = lease.assignment
        self.code = lease.code
        self._path = path
        self.directory = Path(lease.directory or f"{path}.d")
        patience = max(_LEAST_PATIENCE, _PATIENCE_IN_LEASES * lease.assignment.lease_seconds)
        self._client = HttpClient(lease.url, lease.assignment.token, patience=patience)
        self._outbox = Outbox(
            self._client, lease.assignment.lease, path, seconds=lease.checkpoint_seconds
        )

    def report(self, report: Report) -> Verdict:
        """Send the metrics of one epoch and return the verdict: continue if nobody answers.

        Raises:
            AttemptEnded: If the attempt was superseded.
        """
        with _ends_if_superseded():
            return self._outbox.report(report)

    def save_checkpoint(self, checkpoint: bytes) -> None:
        """Save a checkpoint on this machine; the service gets it a little later.

        Raises:
            NoDiskSpace: If it cannot be written.
            AttemptEnded: If the attempt was superseded.
        """
        with _ends_if_superseded():
            self._outbox.save_checkpoint(checkpoint)

    def flush(self) -> None:
        """Upload the newest checkpoint and send every report. Raises as `report`."""
        with _ends_if_superseded():
            self._outbox.flush()

    def report_measurements(self, measure: Callable[[], Measurements]) -> None:
        """Measure the candidate's costs and send them.

        Raises:
            AttemptEnded: If it is infeasible, or the attempt was superseded.
        """
        answer = MeasurementsReply.model_validate_json(
            self._call("POST", "measurements", measure())
        )
        if answer.verdict == "infeasible":
            logger.info("trial %s is infeasible: %s", self.assignment.trial, answer.reason)
            raise AttemptEnded(None)

    def broadcast_verdict(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        """Return the verdict on an epoch that this process has not reported.

        Where the trial has other ranks, rank 0 sends it to them, and they receive it here.
        """
        return verdict

    def upload(self, name: str, data: bytes) -> None:
        """Store a file of the trial. Raises `AttemptEnded` if the attempt was superseded."""
        self._call("PUT", f"artifacts/{name}", data)

    def load_checkpoint(self) -> bytes | None:
        """Return the checkpoint to resume from, checked against its digest."""
        wanted = self.assignment.checkpoint
        if wanted is None:
            return None
        return self._download(f"artifacts/{wanted.name}", wanted.name, wanted.sha256)

    def load_start_weights(self) -> bytes | None:
        """Return the weights to start from, checked against their digest."""
        wanted = self.assignment.start
        return None if wanted is None else self._download("start", START, wanted)

    def end(self, outcome: Outcome | None) -> None:
        """Send the outcome and remove the lease file; None if the service expects none."""
        if outcome is not None:
            self.send_reports()
            # A lost lease is also the answer to a repeated outcome whose first answer was lost.
            with contextlib.suppress(LeaseLost):
                self._client.call("POST", f"/leases/{self.assignment.lease}/outcome", outcome)
        if not is_retried(outcome):
            shutil.rmtree(self.directory, ignore_errors=True)
        # The agent reads the outcome's file once the lease file is gone, so it comes first.
        if outcome is not None:
            self._write_outcome(outcome)
        self._path.unlink(missing_ok=True)

    def send_reports(self) -> None:
        """Send the reports that wait, unless the attempt was superseded."""
        with contextlib.suppress(LeaseLost):
            self._outbox.send_reports()

    def close(self) -> None:
        self._outbox.close()
        self._client.close()

    def _write_outcome(self, outcome: Outcome) -> None:
        """Write what was sent for the agent, whose circuit breaker counts failures."""
        path = outcome_file_of(self._path)
        partial = path.with_suffix(".telling")
        try:
            partial.write_text(outcome.model_dump_json())
            partial.replace(path)
        except OSError as error:
            # The service has the outcome already, and a full disk may be what it is about.
            logger.warning("could not write %s: %s", path, error)

    def _download(self, what: str, name: str, sha256: str) -> bytes:
        path = f"/trials/{self.assignment.trial}/{what}"
        data = self._client.call("GET", path, timeout=_TRANSFER_SECONDS).content
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise BadArtifact(name, sha256, found)
        return data

    def _call(self, method: str, what: str, body: BaseModel | bytes) -> bytes:
        path = f"/leases/{self.assignment.lease}/{what}"
        with _ends_if_superseded():
            return self._client.call(method, path, body, timeout=_TRANSFER_SECONDS).content


@contextlib.contextmanager
def _ends_if_superseded() -> Iterator[None]:
    try:
        yield
    except LeaseLost:
        raise AttemptEnded(None) from None
