"""One attempt at a trial, as its own process sees it: what it was told and what it says."""

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
from workers.attempt.http import Wire
from workers.attempt.outbox import Courier, said_in
from workers.attempt.workspace import is_kept
from workers.errors import BadArtifact, LeaseLost

logger = logging.getLogger(__name__)

# A restarted service must lose nothing, so a trial outlasts several leases in silence.
_LEASES_OF_PATIENCE = 10
_LEAST_PATIENCE = 120.0


class Ended(SystemExit):
    """The attempt is over: leaves the loop, the handle's `with` block and the process, cleanly.

    It is a `SystemExit`, so that no `except Exception` of a training script goes on training.
    """

    def __init__(self, outcome: Outcome | None) -> None:
        super().__init__(0)
        self.outcome = outcome


class Attempt:
    """Speaks for the attempt that a lease file names.

    The file exists as long as the last word on the attempt is owed: it is removed when the
    outcome was told, or when nobody wants to hear it any more.

    Attributes:
        directory: The trial's own on this worker.
        code: Tells the code of the trial's task.
        leads: Whether this process measures, reports and stores.
        seed_parts: What tells this process's random numbers from those of others.
    """

    leads = True
    seed_parts: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        told = LeaseFile.model_validate_json(path.read_bytes())
        self.assignment: Assignment = told.assignment
        self.code = told.code
        self._path = path
        self.directory = Path(told.directory or f"{path}.d")
        patience = max(_LEAST_PATIENCE, _LEASES_OF_PATIENCE * told.assignment.lease_seconds)
        self._wire = Wire(told.url, told.assignment.token, patience=patience)
        lease, seconds = told.assignment.lease, told.checkpoint_seconds
        self._courier = Courier(self._wire, lease, path, seconds=seconds)

    def report(self, report: Report) -> Verdict:
        """Tell the metrics of one epoch and return the verdict; go on where nobody answers.

        Raises:
            Ended: If the attempt was superseded.
        """
        with _unless_superseded():
            return self._courier.report(report)

    def keep(self, checkpoint: bytes) -> None:
        """Keep a checkpoint on this machine; the service has it a little later.

        Raises:
            NoDiskSpace: If it cannot be written.
            Ended: If the attempt was superseded.
        """
        with _unless_superseded():
            self._courier.keep(checkpoint)

    def hand_in(self) -> None:
        """Bring the newest checkpoint to the service, and every report. Raises as `report`."""
        with _unless_superseded():
            self._courier.hand_in()

    def tell_measurements(self, measured: Callable[[], Measurements]) -> None:
        """Measure and tell what the candidate costs.

        Raises:
            Ended: If it is infeasible, or the attempt was superseded.
        """
        answer = MeasurementsReply.model_validate_json(
            self._say("POST", "measurements", measured())
        )
        if answer.verdict == "infeasible":
            logger.info("trial %s is infeasible: %s", self.assignment.trial, answer.reason)
            raise Ended(None)

    def pass_on(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        """Return the verdict on an epoch that this process has not reported: go on.

        Other processes of the trial, where there are any, are told that it is.
        """
        return verdict

    def upload(self, name: str, data: bytes) -> None:
        """Store a file of the trial. Raises `Ended` if the attempt was superseded."""
        self._say("PUT", f"artifacts/{name}", data)

    def checkpoint(self) -> bytes | None:
        """Return the checkpoint to resume from, checked against its digest."""
        wanted = self.assignment.checkpoint
        if wanted is None:
            return None
        return self._download(f"artifacts/{wanted.name}", wanted.name, wanted.sha256)

    def start(self) -> bytes | None:
        """Return the weights to start from, checked against their digest."""
        wanted = self.assignment.start
        return None if wanted is None else self._download("start", START, wanted)

    def end(self, outcome: Outcome | None) -> None:
        """Say the last word; None where nobody waits for it."""
        if outcome is not None:
            self.finish()
            # A lost lease is also the answer to a repeated outcome whose first answer was lost.
            with contextlib.suppress(LeaseLost):
                self._wire.call("POST", f"/leases/{self.assignment.lease}/outcome", outcome)
        if not is_kept(outcome):
            shutil.rmtree(self.directory, ignore_errors=True)
        if outcome is not None:
            self._leave_word(outcome)
        self._path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Tell every report that waits, as far as anybody wants to hear it."""
        with contextlib.suppress(LeaseLost):
            self._courier.finish()

    def _leave_word(self, outcome: Outcome) -> None:
        """Leave what was told for the agent, which judges its own health by it."""
        path = said_in(self._path)
        partial = path.with_suffix(".telling")
        try:
            partial.write_text(outcome.model_dump_json())
            partial.replace(path)
        except OSError as error:
            # The service has it. A full disk is the reason of some last words.
            logger.warning("could not write %s: %s", path, error)

    def close(self) -> None:
        self._courier.close()
        self._wire.close()

    def _download(self, what: str, name: str, sha256: str) -> bytes:
        path = f"/trials/{self.assignment.trial}/{what}"
        data = self._wire.call("GET", path, timeout=120).content
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise BadArtifact(name, sha256, found)
        return data

    def _say(self, method: str, what: str, body: BaseModel | bytes) -> bytes:
        path = f"/leases/{self.assignment.lease}/{what}"
        with _unless_superseded():
            return self._wire.call(method, path, body, timeout=120).content


@contextlib.contextmanager
def _unless_superseded() -> Iterator[None]:
    try:
        yield
    except LeaseLost:
        raise Ended(None) from None
