"""Carries what an attempt makes to the service; training goes on whether it answers or not."""

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
from workers.attempt.http import Wire, pauses
from workers.errors import LeaseLost, NoDiskSpace, ServiceAway

_ANSWER_SECONDS = 10.0
_UPLOAD_SECONDS = 120.0
_LAST_UPLOAD_PATIENCE = 10.0


def checkpoint_of(lease_file: Path) -> Path:
    """Return where an attempt keeps the checkpoint that the service has not got yet."""
    return lease_file.with_suffix(".safetensors")


def mark_of(lease_file: Path) -> Path:
    """Return the empty file that an attempt makes with its first checkpoint."""
    return lease_file.with_suffix(".kept")


def said_in(lease_file: Path) -> Path:
    """Return where an attempt leaves the last word that it has told, for its agent."""
    return lease_file.with_suffix(".outcome")


class Courier:
    """Reports at once where the service answers, and goes on trying from a thread where it does
    not; keeps the newest checkpoint in a file until the service has it.

    A report goes before the checkpoint of its epoch: a crash between the two repeats a report,
    which is harmless, and the other order would lose one.

    Args:
        wire: Of the attempt's token; its patience is that of the last words.
        lease_file: The checkpoint is kept beside it.
        seconds: A checkpoint is uploaded so long after the last one.
    """

    def __init__(self, wire: Wire, lease: str, lease_file: Path, *, seconds: float) -> None:
        self._wire = wire
        self._path = f"/leases/{lease}"
        self._checkpoint = checkpoint_of(lease_file)
        self._mark = mark_of(lease_file)
        self._seconds = seconds
        self._uploaded_at = float("-inf")
        self._reports: list[Report] = []
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._heard = Verdict.CONTINUE
        self._superseded: LeaseLost | None = None

    def report(self, report: Report) -> Verdict:
        """Tell a report, or let it wait for a service that is away, and return the verdict.

        Raises:
            LeaseLost: If the attempt was superseded.
        """
        if self._superseded is not None:
            raise self._superseded
        if self._heard is not Verdict.CONTINUE:
            # Heard by the thread, and what was trained since does not count.
            return self._heard
        self._reports.append(report)
        if self._is_away():
            return Verdict.CONTINUE
        try:
            return self._tell(patience=0)
        except ServiceAway:
            self._thread = threading.Thread(target=self._go_on_trying, name="courier", daemon=True)
            self._thread.start()
            return Verdict.CONTINUE

    def keep(self, checkpoint: bytes) -> None:
        """Write a checkpoint, atomically, and upload it when that is due.

        Raises:
            NoDiskSpace: If it cannot be written.
            LeaseLost: If the attempt was superseded.
        """
        with self._sending:
            self._write(checkpoint)
        if self._is_away() or time.monotonic() < self._uploaded_at + self._seconds:
            return
        try:
            self._upload(patience=0)
        except ServiceAway:
            # It lies in the file, and the next one may find the service back.
            return

    def hand_in(self) -> None:
        """Tell all that still waits here, and upload the checkpoint.

        Raises:
            ServiceAway: If the service does not answer.
            LeaseLost: If the attempt was superseded.
        """
        self._tell(patience=None)
        self._upload(patience=_LAST_UPLOAD_PATIENCE)

    def finish(self) -> None:
        """Tell the reports that still wait here, with patience."""
        if self._reports:
            self._tell(patience=None)

    def _is_away(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Try no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _go_on_trying(self) -> None:
        for pause in pauses():
            if self._over.wait(pause):
                return
            try:
                while self._reports:
                    self._heard = self._tell(patience=0)
                return self._upload(patience=0)
            except ServiceAway:
                continue
            except LeaseLost as error:
                self._superseded = error
                return

    def _tell(self, *, patience: float | None) -> Verdict:
        with self._sending:
            batch = self._reports[:1000]
            if not batch:
                return self._heard
            answer = self._wire.call(
                "POST",
                f"{self._path}/reports",
                Reports(reports=batch),
                timeout=_ANSWER_SECONDS,
                patience=patience,
            )
            del self._reports[: len(batch)]
            return ReportsReply.model_validate_json(answer.content).verdict

    def _write(self, checkpoint: bytes) -> None:
        partial = self._checkpoint.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(checkpoint)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._checkpoint)
            self._mark.touch()
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise NoDiskSpace(self._checkpoint, error.strerror or str(error)) from error

    def _upload(self, *, patience: float) -> None:
        with self._sending:
            if not self._checkpoint.exists():
                return
            upload(self._wire, self._path, self._checkpoint, patience=patience)
            self._uploaded_at = time.monotonic()


def upload(wire: Wire, lease_path: str, checkpoint: Path, *, patience: float) -> None:
    """Upload a kept checkpoint; what the service has is kept no longer."""
    path = f"{lease_path}/artifacts/{CHECKPOINT}"
    wire.call("PUT", path, checkpoint.read_bytes(), timeout=_UPLOAD_SECONDS, patience=patience)
    checkpoint.unlink()


def hand_in_for_the_dead(lease_file: Path) -> None:
    """Upload what an attempt kept whose process ended without a last word.

    Raises:
        ServiceError: If the service does not answer, or does not want it.
    """
    checkpoint = checkpoint_of(lease_file)
    if not checkpoint.exists() or not lease_file.exists():
        return
    told = LeaseFile.model_validate_json(lease_file.read_bytes())
    wire = Wire(told.url, told.assignment.token)
    lease_path = f"/leases/{told.assignment.lease}"
    try:
        upload(wire, lease_path, checkpoint, patience=_LAST_UPLOAD_PATIENCE)
    finally:
        wire.close()
