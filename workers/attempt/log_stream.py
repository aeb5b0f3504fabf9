"""The output of a trial, sent to the service while it is printed."""

import logging
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from search_space.contract import LeaseFile, LogReply
from workers.attempt.http import Wire
from workers.attempt.masking import LONGEST_TOKEN, Mask
from workers.errors import Refused, ServiceAway

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_PIECE_BYTES = 256 * 1024
_LAST_PATIENCE = 5.0
_TIMEOUT = 5.0


class LogStream:
    """Follows the file that a trial prints to, from a thread; use it around the trial's process.

    What the service has not got when the process ends is sent on leaving, with a few seconds'
    patience. Where the service is away the output waits in its file; it is no reason for a trial
    to wait.

    Args:
        told: Of the attempt, whose token it speaks with.
        path: Need not be there yet.
    """

    def __init__(self, told: LeaseFile, path: Path) -> None:
        self._lease = told.assignment.lease
        self._path = path
        self._wire = Wire(told.url, told.assignment.token, patience=0)
        self._mask = Mask(os.environ, (told.assignment.token,))
        self._sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._wire.close()

    def _follow(self) -> None:
        try:
            while not self._over.wait(_LOOK_SECONDS):
                self._send_what_is_there()
            while self._send(self._read(whole=True), patience=_LAST_PATIENCE):
                pass
        except Refused as error:
            # The search is gone, or the service is an older one.
            logger.info("output is not wanted: %s", error)
        except ServiceAway as error:
            logger.warning("the end of the output is not sent: %s", error)

    def _send_what_is_there(self) -> None:
        try:
            while not self._over.is_set() and self._send(self._read(whole=False), patience=0):
                pass
        except ServiceAway:
            logger.debug("output waits for the service")

    def _send(self, data: bytes, *, patience: float) -> bool:
        """Send a piece, and return whether there may be another."""
        if not data:
            return False
        path = f"/leases/{self._lease}/logs?offset={self._sent}"
        answer = self._wire.call("POST", path, data, timeout=_TIMEOUT, patience=patience)
        self._sent = LogReply.model_validate_json(answer.content).next
        return True

    def _read(self, *, whole: bool) -> bytes:
        """Return the next piece, masked; not `whole`: up to where no secret can be cut in two."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._sent)
                data = file.read(_PIECE_BYTES + LONGEST_TOKEN)
        except FileNotFoundError:
            return b""
        masked = self._mask(data)
        if whole and len(data) <= _PIECE_BYTES:
            return masked
        return masked[: _safe_length(data)]


def _safe_length(data: bytes) -> int:
    """Return the length up to the last end of a line, or, in a long line, short of a secret's."""
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    return min(end or max(0, len(data) - LONGEST_TOKEN), _PIECE_BYTES)
