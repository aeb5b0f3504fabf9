"""Rate limit: bounds how often one client may call, so that others are still served."""

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
MAX_ACCEPTED = 100_000
"""Accepted secrets that are remembered; beyond that the oldest count for their address again."""

_STATE_KEY = "rate_limit_client"


class RateLimit:
    """Refuses API requests beyond a rate, with 429.

    A client is a token, also by its cookies, or an attempt, once its secret was accepted; else
    it is an address. So a sender of invented tokens stays one client, and many trials behind one
    address are many.

    Args:
        per_second: Requests of one client, averaged over `WINDOW_SECONDS`.
    """

    def __init__(self, app: ASGIApp, per_second: float) -> None:
        self._app = app
        amount = max(1, math.floor(per_second * WINDOW_SECONDS))
        self._limit = RateLimitItemPerSecond(amount, WINDOW_SECONDS)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        # The client of each accepted secret, the least recently accepted first.
        self._accepted: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        secret = _secret_digest(scope)
        client = self._accepted.get(secret) or _address(scope)
        if not self._limiter.hit(self._limit, client):
            reset = self._limiter.get_window_stats(self._limit, client).reset_time
            error = TooManyRequests(max(1, math.ceil(reset - time.time())))
            await problem_response(Request(scope), error)(scope, receive, send)
            return

        state = scope.setdefault("state", {})

        async def remember_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and secret:
                # A status other than 401 does not prove that a secret is valid: some calls need
                # none, and some requests are refused before it is checked.
                if message["status"] == HTTPStatus.UNAUTHORIZED:
                    self._accepted.pop(secret, None)
                elif _STATE_KEY in state:
                    self._remember(secret, state[_STATE_KEY])
            await send(message)

        await self._app(scope, receive, remember_and_send)

    def _remember(self, secret: str, client: str) -> None:
        self._accepted.pop(secret, None)
        self._accepted[secret] = client
        if len(self._accepted) > MAX_ACCEPTED:
            del self._accepted[next(iter(self._accepted))]


def identify_client(request: Request, client: str) -> None:
    """Name the client of a request whose secret was accepted; its next requests count for it."""
    setattr(request.state, _STATE_KEY, client)


def _secret_digest(scope: Scope) -> str:
    """Return the digest of the token or cookie, so that no secret stays in memory; "" for none."""
    headers = Headers(scope=scope)
    secret = headers.get("authorization") or headers.get("cookie")
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""


def _address(scope: Scope) -> str:
    address = scope.get("client")
    return f"address {address[0] if address else 'unknown'}"
