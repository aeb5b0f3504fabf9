"""HTTP to the service, with the retry rule that agents and trials share."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterator

import httpx2
from pydantic import BaseModel

from workers.errors import LeaseLost, NotKnown, NotWelcome, Refused, ServiceAway

logger = logging.getLogger(__name__)

_REFUSALS: dict[int, type[Refused]] = {
    401: NotWelcome,
    403: NotWelcome,
    404: NotKnown,
    409: LeaseLost,
    426: NotWelcome,
}
_TOO_MANY_REQUESTS = 429
LONGEST_PAUSE = 10.0


class HttpClient:
    """Sends requests to one service with one token. Safe to share between threads.

    It retries temporary failures (no connection, a broken connection, 429, 5xx) with exponential
    backoff and jitter. Every request of the protocol may be repeated.

    Args:
        patience: Seconds to go on trying before `ServiceAway` is raised.
        pause: Waits so many seconds. An agent passes a function that raises when it is stopped.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        patience: float = math.inf,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._patience = patience
        self._pause = pause
        self._client = httpx2.Client(
            base_url=f"{self.url}/v1",
            headers=headers,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        )

    def call(
        self,
        method: str,
        path: str,
        body: BaseModel | bytes | None = None,
        *,
        timeout: float = 30,
        patience: float | None = None,
        longest_pause: float = LONGEST_PAUSE,
        token: str | None = None,
    ) -> httpx2.Response:
        """Return the answer, or raise a `ServiceError`.

        Args:
            patience: Of this request; None: that of the client. 0: one try.
            longest_pause: Largest number of seconds between two tries.
            token: Of an attempt whose requests go through the client of its worker.
        """
        content, headers = _encode(body)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        patience = self._patience if patience is None else patience
        began = time.monotonic()
        reason = ""
        for pause in backoff(longest_pause):
            try:
                response = self._client.request(
                    method, path, content=content, headers=headers, timeout=timeout
                )
            except httpx2.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status_code < 500 and response.status_code != _TOO_MANY_REQUESTS:
                    if reason:
                        logger.info("%s answers again", self.url)
                    return _accepted(response)
                problem = f"{response.status_code} {_detail(response)}"
            away = time.monotonic() - began
            # Checked with the pause added: the caller may not wait longer than its patience, and
            # a patience of 0 means one try.
            if away + pause > patience:
                raise ServiceAway(self.url, away, problem)
            # Only the first failure is logged; a service may be away for days.
            if not reason:
                logger.warning("%s %s%s: %s; trying again", method, self.url, path, problem)
            reason = problem
            self._pause(pause)
        raise AssertionError("the backoff never ends")

    def close(self) -> None:
        self._client.close()


def _encode(body: BaseModel | bytes | None) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers."""
    if isinstance(body, bytes):
        return body, {"content-type": "application/octet-stream"}
    content = b"" if body is None else body.model_dump_json().encode()
    return content, {"content-type": "application/json"}


def backoff(longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """Yield pauses in seconds: exponential from 0.1 up to `longest`, with jitter."""
    # Jitter, so that hundreds of workers do not all return to a restarted service at once.
    pause = 0.1
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, longest)


def _accepted(response: httpx2.Response) -> httpx2.Response:
    if response.is_success:
        return response
    refusal = _REFUSALS.get(response.status_code, Refused)
    request = f"{response.request.method} {response.request.url}"
    raise refusal(response.status_code, request, _detail(response))


def _detail(response: httpx2.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return response.text[:500]
    return str(problem.get("detail", problem)) if isinstance(problem, dict) else str(problem)
