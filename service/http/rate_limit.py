"""Bounds how often one client may call, so that none takes the service from the others."""

import hashlib
import math
import time
from http import HTTPStatus

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooManyRequests
from service.http.problems import problem_response

WINDOW_SECONDS = 10
MOST_KNOWN = 100_000
"""Secrets that are remembered as accepted; beyond that the oldest count for their address again."""


class RateLimit:
    """Refuses calls of the API beyond a rate.

    A client is a token, or a cookie, once one was accepted; until then, and without, an address.
    So whoever makes up tokens stays one client.

    Args:
        per_second: Calls of one client, averaged over a window.
    """

    def __init__(self, app: ASGIApp, per_second: float) -> None:
        self._app = app
        amount = max(1, math.floor(per_second * WINDOW_SECONDS))
        self._limit = RateLimitItemPerSecond(amount, WINDOW_SECONDS)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._known: dict[str, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        secret = _secret(scope)
        client = secret if secret in self._known else _address(scope)
        if not self._limiter.hit(self._limit, client):
            reset = self._limiter.get_window_stats(self._limit, client).reset_time
            error = TooManyRequests(max(1, math.ceil(reset - time.time())))
            await problem_response(Request(scope), error)(scope, receive, send)
            return

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and secret:
                self._note(secret, accepted=message["status"] != HTTPStatus.UNAUTHORIZED)
            await send(message)

        await self._app(scope, receive, note_and_send)

    def _note(self, secret: str, *, accepted: bool) -> None:
        self._known.pop(secret, None)
        if accepted:
            self._known[secret] = None
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]


def _secret(scope: Scope) -> str:
    """Return what stands for the token or the cookie: it is not kept, not even here."""
    headers = Headers(scope=scope)
    secret = headers.get("authorization") or headers.get("cookie")
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""


def _address(scope: Scope) -> str:
    address = scope.get("client")
    return str(address[0]) if address else "nobody"
