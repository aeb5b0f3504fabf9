"""Request ids, default headers, metrics and the log line of every request."""

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

from service.http.problems import internal_error
from service.runtime.metrics import Metrics

REQUEST_ID = "x-request-id"
UNMATCHED_ROUTE = "unknown"
CLIENT_CLOSED_REQUEST = 499
"""Status in the log, as nginx writes it, when the client disconnected before it was answered."""

_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DEFAULT_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""For responses that do not set them: an API response is no page and is not cached."""

log = logging.getLogger(__name__)


class RequestLog:
    """Gives each request an id, which its response and its log lines carry; logs and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    @cached_property
    def _templates(self) -> dict[int, str]:
        """The full path of every route, by the route's identity: a route knows only part of it."""
        return {
            id(context.original_route): context.path
            for context in iter_route_contexts(self._routes)
            if context.path is not None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # An id of the client is kept only in a harmless form: it goes into a header and the log.
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _REQUEST_ID_FORM.fullmatch(given) else secrets.token_hex(8)
        began, status = time.monotonic(), int(HTTPStatus.INTERNAL_SERVER_ERROR)
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                has_started = True
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _DEFAULT_HEADERS.items():
                    headers.setdefault(name, value)
                self._count(scope, status, time.monotonic() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except ClientDisconnect:
                status = CLIENT_CLOSED_REQUEST
            except Exception:
                # The edge of the service: the cause goes to the log, and not to the client.
                log.exception("request failed: %s", scope["path"])
                if not has_started:
                    await internal_error(Request(scope))(scope, receive, send_with_headers)
            finally:
                seconds = round(time.monotonic() - began, 4)
                self._log(scope, status, seconds)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # By the template of the route: ids in paths would make a time series for each id.
        method, route = _method(scope), self._templates.get(id(scope.get("route")), UNMATCHED_ROUTE)
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        """Log a request: 5xx as a warning, reads and the calls of attempts only at debug."""
        is_write = scope["method"] not in ("GET", "HEAD") and "/leases" not in scope["path"]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            level = logging.WARNING
        else:
            is_notable = is_write or status >= HTTPStatus.BAD_REQUEST
            level = logging.INFO if is_notable else logging.DEBUG
        fields = {"method": _method(scope), "path": scope["path"], "status": status}
        log.log(level, "request", extra={**fields, "seconds": seconds})


def _method(scope: Scope) -> str:
    # A client may send any text as the method, which would be a new metric label each time.
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "OTHER"
