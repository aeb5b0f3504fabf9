"""Bounds how often one client may call, so that none takes the service from the others."""

import hashlib
import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import TooManyRequests
from service.problems import problem_response

WINDOW_SECONDS = 10


class RateLimit:
    """Refuses calls of the API beyond a rate.

    A client is a token, or a cookie, or else an address.

    Args:
        per_second: Calls of one client, averaged over a window.
    """

    def __init__(self, app: ASGIApp, per_second: float) -> None:
        self._app = app
        amount = max(1, math.floor(per_second * WINDOW_SECONDS))
        self._limit = RateLimitItemPerSecond(amount, WINDOW_SECONDS)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_call = scope["type"] == "http" and scope["path"].startswith("/v1/")
        if not is_call or self._limiter.hit(self._limit, client := _client(scope)):
            await self._app(scope, receive, send)
            return
        reset = self._limiter.get_window_stats(self._limit, client).reset_time
        error = TooManyRequests(max(1, math.ceil(reset - time.time())))
        await problem_response(Request(scope), error)(scope, receive, send)


def _client(scope: Scope) -> str:
    """Return who calls; tokens are not kept, not even here."""
    headers = Headers(scope=scope)
    secret = headers.get("authorization") or headers.get("cookie")
    if secret:
        return hashlib.sha256(secret.encode()).hexdigest()
    address = scope.get("client")
    return str(address[0]) if address else "nobody"
