"""The output of a trial, sent to the service while it is printed."""

import logging
import os
import threading
from pathlib import Path
from typing import Self

from search_space.contract import LeaseFile, LogReply
from workers.attempt.http import HttpClient
from workers.attempt.masking import LONGEST_TOKEN, Mask
from workers.errors import Refused, ServiceAway

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_CHUNK_BYTES = 256 * 1024
_LAST_PATIENCE = 5.0
_TIMEOUT = 5.0


class LogStream:
    """Follows the file that a trial prints to, in a thread; use it around the trial's process.

    While the service is away the output stays in its file. What is not sent when the process has
    ended is sent on leaving, with a patience of some seconds: no trial waits for its output.

    Args:
        lease: Of the attempt, whose token it uses.
        path: Need not exist yet.
    """

    def __init__(self, lease: LeaseFile, path: Path) -> None:
        self._lease = lease.assignment.lease
        self._path = path
        self._client = HttpClient(lease.url, lease.assignment.token, patience=0)
        self._mask = Mask(os.environ, (lease.assignment.token,))
        self._sent = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._client.close()

    def _follow(self) -> None:
        try:
            while not self._closed.wait(_POLL_SECONDS):
                self._send_new_output()
            while self._send(self._read(whole=True), patience=_LAST_PATIENCE):
                pass
        except Refused as error:
            # The search was deleted, or the service is older than logs.
            logger.info("the service does not take the output: %s", error)
        except ServiceAway as error:
            logger.warning("the end of the output was not sent: %s", error)

    def _send_new_output(self) -> None:
        try:
            while not self._closed.is_set() and self._send(self._read(whole=False), patience=0):
                pass
        except ServiceAway:
            logger.debug("output waits for the service")

    def _send(self, data: bytes, *, patience: float) -> bool:
        """Send a chunk, and return whether there may be another."""
        if not data:
            return False
        path = f"/leases/{self._lease}/logs?offset={self._sent}"
        answer = self._client.call("POST", path, data, timeout=_TIMEOUT, patience=patience)
        # The service says where to go on: it may have the chunk from a request whose answer was
        # lost, or have lost the end of the log in a crash.
        self._sent = LogReply.model_validate_json(answer.content).next
        return True

    def _read(self, *, whole: bool) -> bytes:
        """Return the next chunk, masked; not `whole`: up to where no secret can be cut in two."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._sent)
                data = file.read(_CHUNK_BYTES + LONGEST_TOKEN)
        except FileNotFoundError:
            return b""
        masked = self._mask(data)
        if whole and len(data) <= _CHUNK_BYTES:
            return masked
        return masked[: _safe_length(data)]


def _safe_length(data: bytes) -> int:
    """Return the length up to the last line end; in a long line, all but a secret's length."""
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    return min(end or max(0, len(data) - LONGEST_TOKEN), _CHUNK_BYTES)
