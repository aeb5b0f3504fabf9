"""HTTP to the service: which calls are retried and when, and the error that the client raises."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
JSON = {"content-type": "application/json"}

# Seconds before each retry; what fails after the last one is raised.
_RETRY_DELAYS = (0.2, 0.4, 0.8)
_MOST_RECONNECTS = 12
_LONGEST_DELAY = 10.0
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
# The service sends an event or a comment at least every 15 seconds.
_STREAM_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
# The service answers so before it does anything: even a call that is not repeatable may be retried.
_NOT_PROCESSED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_TRANSIENT = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class ClientError(Exception):
    """The service refused, or could not be reached.

    Attributes:
        status: The HTTP status; None: the service did not answer.
        detail: What is wrong, for people.
        errors: The fields at fault, each with `field`, `message` and `given`.
    """

    def __init__(
        self, status: int | None, detail: str, errors: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(status, detail, tuple(errors))
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a search."""

    id: int
    kind: str
    data: dict[str, Any]


class Transport:
    """Sends requests to one service with one token. Safe to share between threads."""

    def __init__(self, url: str | None, token: str | None) -> None:
        self.url = (url or os.environ.get("ACTSEARCH_URL") or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ClientError(None, f"the URL must be like {DEFAULT_URL}, got {self.url!r}")
        token = token or os.environ.get("ACTSEARCH_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx2.Client(base_url=f"{self.url}/v1", headers=headers, timeout=_TIMEOUT)
        except httpx2.InvalidURL as error:
            raise ClientError(None, f"{self.url!r} is not a URL: {error}") from None

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | Path | None = None,
        repeatable: bool = True,
    ) -> httpx2.Response:
        """Send a request and return the response of a success.

        Args:
            content: The body; a file is streamed.
            repeatable: Whether the call does no harm when it is processed twice. One that is not
                is retried only if the service cannot have processed it.

        Raises:
            ClientError: If the service refuses, or cannot be reached after a few retries.
        """
        for delay in (*_RETRY_DELAYS, None):
            try:
                with _opened(content) as body:
                    answer = self._http.request(
                        method, path, headers=headers, params=params, content=body
                    )
            except httpx2.TransportError as error:
                unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                if delay is None or not (repeatable or unsent):
                    raise self._unreachable(error) from None
            else:
                if answer.is_success:
                    return answer
                may_retry = _TRANSIENT if repeatable else _NOT_PROCESSED
                if delay is None or answer.status_code not in may_retry:
                    raise _refusal(answer)
                delay = max(delay, _retry_after(answer))
            time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def events(self, path: str, after: int, stop: threading.Event) -> Iterator[Event]:
        """Yield events until `stop` is set; a lost connection resumes behind the last event."""
        failures = 0
        while not stop.is_set():
            error: Exception | None = None
            try:
                for event in self._stream(path, after, stop):
                    # Even a comment shows that the service is there.
                    failures = 0
                    if event is not None:
                        after = event.id
                        yield event
            except httpx2.TransportError as broken:
                error = broken
            failures += 1
            if failures > _MOST_RECONNECTS:
                raise self._unreachable(error) from None
            stop.wait(min(_RETRY_DELAYS[0] * 2**failures, _LONGEST_DELAY))

    def _stream(self, path: str, after: int, stop: threading.Event) -> Iterator[Event | None]:
        """Yield the events of one connection, and None for each comment."""
        headers = {"accept": "text/event-stream", "last-event-id": str(after)}
        with self._http.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as answer:
            if answer.status_code in _TRANSIENT:
                return
            if not answer.is_success:
                answer.read()
                raise _refusal(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if stop.is_set():
                    return
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                yield _event(fields)
                fields = {}

    def _unreachable(self, error: Exception | None) -> ClientError:
        return ClientError(
            None,
            f"no service answers at {self.url} ({error or 'every connection ends at once'}); "
            "start one with `actsearch up`, or give the URL of another by --url or ACTSEARCH_URL",
        )


class EventListener:
    """Receives events in its own thread, so that a slow reader is told once of many events."""

    def __init__(self, events: Callable[[threading.Event], Iterator[Event]]) -> None:
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._error: Exception | None = None
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return when something has happened since the last call, or after `seconds`."""
        self._changed.wait(seconds)
        self._changed.clear()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop listening when the next event or comment arrives."""
        self._stop.set()

    def _listen(self, events: Callable[[threading.Event], Iterator[Event]]) -> None:
        try:
            for _ in events(self._stop):
                self._changed.set()
        except Exception as error:  # Raised by `wait`, in the thread that waits.
            self._error = error
            self._changed.set()


def _opened(content: bytes | Path | None) -> AbstractContextManager[bytes | BinaryIO | None]:
    return content.open("rb") if isinstance(content, Path) else nullcontext(content)


def _event(fields: Mapping[str, str]) -> Event | None:
    if "data" not in fields or "id" not in fields:
        return None
    return Event(int(fields["id"]), fields.get("event", ""), json.loads(fields["data"]))


def _retry_after(answer: httpx2.Response) -> float:
    """Return the seconds to wait that the service asks for, within bounds."""
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_DELAY) if asked.isdecimal() else 0.0


def _refusal(answer: httpx2.Response) -> ClientError:
    """Return the error of a problem document; a proxy before the service may send anything else."""
    try:
        problem = answer.json()
        detail, errors = str(problem["detail"]), list(problem.get("errors", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, errors = f"the service answered {answer.status_code} {answer.reason_phrase}", []
    return ClientError(answer.status_code, detail, errors)
