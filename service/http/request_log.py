"""What is noted of every request: its id, how it was answered, and how long that took."""

import logging
import re
import secrets
import time
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus

import structlog
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import unforeseen
from service.runtime.metrics import Metrics

REQUEST_ID = "x-request-id"
UNKNOWN_ROUTE = "unknown"
HUNG_UP = 499
"""What the log calls a request whose client went away in its middle, as proxies do; no answer."""

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Unless an answer says otherwise: what the API answers is no page, and is not kept."""

log = logging.getLogger(__name__)


class RequestLog:
    """Gives each request an id, which its answer and every line of the log carry."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    @cached_property
    def _templates(self) -> dict[int, str]:
        """The whole path of every route, which itself knows only what its router says."""
        return {
            id(context.original_route): context.path
            for context in iter_route_contexts(self._routes)
            if context.path is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request = given if _SANE.fullmatch(given) else secrets.token_hex(8)
        began, status = time.monotonic(), int(HTTPStatus.INTERNAL_SERVER_ERROR)
        has_answered = False

        async def send_noted(message: Message) -> None:
            nonlocal status, has_answered
            if message["type"] == "http.response.start":
                has_answered = True
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                self._count(scope, status, time.monotonic() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request):
            try:
                await self._app(scope, receive, send_noted)
            except ClientDisconnect:
                status = HUNG_UP
            except Exception:
                # The edge of the service: what broke is ours, and its place is in the log.
                log.exception("request failed: %s", scope["path"])
                if not has_answered:
                    await unforeseen(Request(scope))(scope, receive, send_noted)
            finally:
                seconds = round(time.monotonic() - began, 4)
                self._note(scope, status, seconds)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Ids in paths would be labels without end.
        method, route = _method(scope), self._templates.get(id(scope.get("route")), UNKNOWN_ROUTE)
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Log a request: failures of ours loudly, what reads or repeats itself only on demand."""
        is_write = scope["method"] not in ("GET", "HEAD") and "/leases" not in scope["path"]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            level = logging.WARNING
        else:
            is_news = is_write or status >= HTTPStatus.BAD_REQUEST
            level = logging.INFO if is_news else logging.DEBUG
        said = {"method": _method(scope), "path": scope["path"], "status": status}
        log.log(level, "request", extra={**said, "seconds": seconds})


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "OTHER"
