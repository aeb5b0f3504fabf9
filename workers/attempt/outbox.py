"""The outbox of an attempt: reports and checkpoints that the service has not received yet.

Training goes on whether the service answers or not.
"""

import os
import threading
import time
from pathlib import Path

from search_space.contract import (
    CHECKPOINT,
    LeaseFile,
    Report,
    Reports,
    ReportsReply,
    Verdict,
)
from workers.attempt.http import HttpClient, backoff
from workers.errors import LeaseLost, NoDiskSpace, ServiceAway

_ANSWER_SECONDS = 10.0
_UPLOAD_SECONDS = 120.0
_LAST_UPLOAD_PATIENCE = 10.0
_REPORTS_PER_REQUEST = 1000


def checkpoint_file_of(lease_file: Path) -> Path:
    """Return where an attempt keeps the checkpoint that the service has not received yet."""
    return lease_file.with_suffix(".safetensors")


def checkpoint_marker_of(lease_file: Path) -> Path:
    """Return the empty file whose time says when the attempt saved its first checkpoint."""
    return lease_file.with_suffix(".kept")


def outcome_file_of(lease_file: Path) -> Path:
    """Return where an attempt writes the outcome that it has sent, for its agent."""
    return lease_file.with_suffix(".outcome")


class Outbox:
    """Sends reports and checkpoints; buffers them while the service does not answer.

    A report is sent from the training's thread as long as the service answers. When it does not,
    a thread retries, and further reports wait in memory. Only the newest checkpoint is kept, in
    a file, until the service has it.

    Args:
        client: With the attempt's token. Its patience is that of `flush` and `send_reports`.
        lease_file: The checkpoint is kept beside it.
        seconds: A checkpoint is uploaded at most once in so many seconds.
    """

    def __init__(self, client: HttpClient, lease: str, lease_file: Path, *, seconds: float) -> None:
        self._client = client
        self._path = f"/leases/{lease}"
        self._checkpoint = checkpoint_file_of(lease_file)
        self._marker = checkpoint_marker_of(lease_file)
        self._seconds = seconds
        self._uploaded_at = float("-inf")
        self._reports: list[Report] = []
        self._lock = threading.Lock()
        self._retries: threading.Thread | None = None
        self._closed = threading.Event()
        self._verdict = Verdict.CONTINUE
        self._superseded: LeaseLost | None = None

    def report(self, report: Report) -> Verdict:
        """Send a report, or buffer it while the service is away, and return the verdict.

        Raises:
            LeaseLost: If the attempt was superseded.
        """
        # What the retry thread has learned is handed on here, in the training's own thread.
        if self._superseded is not None:
            raise self._superseded
        if self._verdict is not Verdict.CONTINUE:
            # The trial is over as of an earlier report; the epochs since then do not count.
            return self._verdict
        self._reports.append(report)
        if self._is_away():
            return Verdict.CONTINUE
        try:
            return self._send_reports(patience=0)
        except ServiceAway:
            self._retries = threading.Thread(target=self._retry, name="outbox", daemon=True)
            self._retries.start()
            return Verdict.CONTINUE

    def save_checkpoint(self, checkpoint: bytes) -> None:
        """Write a checkpoint, atomically, and upload it when that is due.

        Raises:
            NoDiskSpace: If it cannot be written.
            LeaseLost: If the attempt was superseded.
        """
        # The retry thread reads the file while it uploads; it must not be replaced meanwhile.
        with self._lock:
            self._write(checkpoint)
        if self._is_away() or time.monotonic() < self._uploaded_at + self._seconds:
            return
        try:
            self._upload(patience=0)
        except ServiceAway:
            # It is in the file; the next checkpoint, or the agent, tries again.
            return

    def flush(self) -> None:
        """Send every report that waits, and upload the checkpoint.

        Raises:
            ServiceAway: If the service does not answer.
            LeaseLost: If the attempt was superseded.
        """
        # Reports first: a crash between the two repeats a report, which is harmless. The other
        # order would lose one, since the next attempt starts after the checkpoint's epoch.
        self._send_reports(patience=None)
        self._upload(patience=_LAST_UPLOAD_PATIENCE)

    def send_reports(self) -> None:
        """Send the reports that wait, with the client's patience. Raises as `flush`."""
        if self._reports:
            self._send_reports(patience=None)

    def close(self) -> None:
        """Stop retrying."""
        self._closed.set()
        if self._retries is not None:
            self._retries.join()

    def _is_away(self) -> bool:
        # The retry thread lives exactly as long as the service does not answer.
        return self._retries is not None and self._retries.is_alive()

    def _retry(self) -> None:
        for pause in backoff():
            if self._closed.wait(pause):
                return
            try:
                while self._reports:
                    self._verdict = self._send_reports(patience=0)
                return self._upload(patience=0)
            except ServiceAway:
                continue
            except LeaseLost as error:
                self._superseded = error
                return

    def _send_reports(self, *, patience: float | None) -> Verdict:
        # One request at a time, so that reports arrive in the order of their epochs.
        with self._lock:
            batch = self._reports[:_REPORTS_PER_REQUEST]
            if not batch:
                return self._verdict
            answer = self._client.call(
                "POST",
                f"{self._path}/reports",
                Reports(reports=batch),
                timeout=_ANSWER_SECONDS,
                patience=patience,
            )
            # Removed after the answer, and by count: `report` may have appended meanwhile.
            del self._reports[: len(batch)]
            return ReportsReply.model_validate_json(answer.content).verdict

    def _write(self, checkpoint: bytes) -> None:
        partial = self._checkpoint.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(checkpoint)
                file.flush()
                # Before the rename: else a power failure can leave an empty file of that name.
                os.fsync(file.fileno())
            partial.replace(self._checkpoint)
            # Not by `touch`, which would set the time of the newest checkpoint.
            self._marker.open("a").close()
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise NoDiskSpace(self._checkpoint, error.strerror or str(error)) from error

    def _upload(self, *, patience: float) -> None:
        with self._lock:
            if not self._checkpoint.exists():
                return
            _upload(self._client, self._path, self._checkpoint, patience=patience)
            self._uploaded_at = time.monotonic()


def upload_checkpoint_of(lease_file: Path) -> None:
    """Upload the checkpoint of an attempt whose process ended without an outcome.

    Raises:
        ServiceError: If the service does not answer, or refuses it.
    """
    checkpoint = checkpoint_file_of(lease_file)
    if not checkpoint.exists() or not lease_file.exists():
        return
    lease = LeaseFile.model_validate_json(lease_file.read_bytes())
    client = HttpClient(lease.url, lease.assignment.token)
    path = f"/leases/{lease.assignment.lease}"
    try:
        _upload(client, path, checkpoint, patience=_LAST_UPLOAD_PATIENCE)
    finally:
        client.close()


def _upload(client: HttpClient, lease_path: str, checkpoint: Path, *, patience: float) -> None:
    """Upload a checkpoint and remove its file."""
    path = f"{lease_path}/artifacts/{CHECKPOINT}"
    client.call("PUT", path, checkpoint.read_bytes(), timeout=_UPLOAD_SECONDS, patience=patience)
    checkpoint.unlink()
