"""HTTP to a service, with the client's one rule of retrying and its one error."""

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

_PAUSES = (0.2, 0.4, 0.8)
_RECONNECTS = 12
_LONGEST_PAUSE = 10.0
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
# The service says something at least every 15 seconds.
_STREAM_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
_NOT_DONE = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Answers that say that nothing was done, so that whatever was asked may be asked again."""

_MAY_PASS = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class ClientError(Exception):
    """The service refused, or could not be asked.

    Attributes:
        status: The HTTP status; None where there was no answer of the service.
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


class Wire:
    """Calls one service with one token. Safe to share between threads."""

    def __init__(self, url: str | None, token: str | None) -> None:
        self.url = (url or os.environ.get("ACTSEARCH_URL") or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ClientError(None, f"the URL must be like {DEFAULT_URL}, got {self.url!r}")
        token = token or os.environ.get("ACTSEARCH_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx2.Client(base_url=f"{self.url}/v1", headers=headers, timeout=_TIMEOUT)
        except httpx2.InvalidURL as error:
            raise ClientError(None, f"{self.url!r} is no URL: {error}") from None

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
        """Return the answer of a success, or raise `ClientError`. A file is sent as it is read.

        What may pass is tried again a few times: a call that is not repeatable only where
        nothing can have arrived or been done.
        """
        for pause in (*_PAUSES, None):
            try:
                with _opened(content) as body:
                    answer = self._http.request(
                        method, path, headers=headers, params=params, content=body
                    )
            except httpx2.TransportError as error:
                unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                if pause is None or not (repeatable or unsent):
                    raise self._away(error) from None
            else:
                if answer.is_success:
                    return answer
                again = _MAY_PASS if repeatable else _NOT_DONE
                if pause is None or answer.status_code not in again:
                    raise _refusal(answer)
                pause = max(pause, _asked_to_wait(answer))
            time.sleep(pause)
        raise AssertionError("the last round returns or raises")

    def events(self, path: str, after: int, stop: threading.Event) -> Iterator[Event]:
        """Yield events until `stop` is set, taking a lost connection up where it ended."""
        fruitless = 0
        while not stop.is_set():
            error: Exception | None = None
            try:
                for event in self._stream(path, after, stop):
                    fruitless = 0
                    if event is not None:
                        after = event.id
                        yield event
            except httpx2.TransportError as broken:
                error = broken
            fruitless += 1
            if fruitless > _RECONNECTS:
                raise self._away(error) from None
            stop.wait(min(_PAUSES[0] * 2**fruitless, _LONGEST_PAUSE))

    def _stream(self, path: str, after: int, stop: threading.Event) -> Iterator[Event | None]:
        """Yield the events of one connection, and None at every other sign of life."""
        headers = {"accept": "text/event-stream", "last-event-id": str(after)}
        with self._http.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as answer:
            if answer.status_code in _MAY_PASS:
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

    def _away(self, error: Exception | None) -> ClientError:
        return ClientError(
            None,
            f"no service answers at {self.url} ({error or 'every connection ends at once'}); "
            "start one with `actsearch up`, or name another by --url or ACTSEARCH_URL",
        )


class Bell:
    """Listens to events on a thread of its own, so that whoever waits hears of many at once."""

    def __init__(self, events: Callable[[threading.Event], Iterator[Event]]) -> None:
        self._rung = threading.Event()
        self._stop = threading.Event()
        self._error: Exception | None = None
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return when something has happened since the last call, or after `seconds`."""
        self._rung.wait(seconds)
        self._rung.clear()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop listening at the next word of the service."""
        self._stop.set()

    def _listen(self, events: Callable[[threading.Event], Iterator[Event]]) -> None:
        try:
            for _ in events(self._stop):
                self._rung.set()
        except Exception as error:  # Belongs to whoever waits, and is raised there.
            self._error = error
            self._rung.set()


def _opened(content: bytes | Path | None) -> AbstractContextManager[bytes | BinaryIO | None]:
    return content.open("rb") if isinstance(content, Path) else nullcontext(content)


def _event(fields: Mapping[str, str]) -> Event | None:
    if "data" not in fields or "id" not in fields:
        return None
    return Event(int(fields["id"]), fields.get("event", ""), json.loads(fields["data"]))


def _asked_to_wait(answer: httpx2.Response) -> float:
    """Return the seconds that the service asks for, within bounds."""
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else 0.0


def _refusal(answer: httpx2.Response) -> ClientError:
    """Read a problem document; what stands between us and the service may send anything."""
    try:
        problem = answer.json()
        detail, errors = str(problem["detail"]), list(problem.get("errors", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, errors = f"the service answered {answer.status_code} {answer.reason_phrase}", []
    return ClientError(answer.status_code, detail, errors)
