"""Checks of the Host header, the content type and the size of a request, before any route.

They stop DNS rebinding and cross-site requests. A page of another site can make a browser send
requests to this service, but they carry the other site's name as Host, or a form's content type.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import BadContentType, BadHost, ServiceError, TooLarge
from service.http.problems import problem_response

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class HostGuard:
    """Refuses unknown hosts, large bodies, and writes without the route's content type."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], max_body_bytes: int) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            response = problem_response(Request(scope), error)
            await response(scope, receive, send)

    def _error(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if host not in self._hosts:
            return BadHost(host)
        if scope["method"] in WRITES:
            is_file = "/artifacts/" in f"{scope['path']}/"
            is_bytes = is_file or scope["path"].endswith("/logs")
            # A body may come without a length or with a wrong one; the routes count what arrives.
            # Files have a larger limit of their own, which their route checks.
            declared = headers.get("content-length", "0")
            if not is_file and declared.isdigit() and int(declared) > self._max_body_bytes:
                return TooLarge(self._max_body_bytes)
            # Browsers send a form's content types to any site without asking, but ask first (a
            # preflight, which nothing here answers) for these. So they are needed even where
            # the body is empty.
            expected = "application/octet-stream" if is_bytes else "application/json"
            given = headers.get("content-type", "").partition(";")[0].strip().lower()
            if given != expected:
                return BadContentType(given, expected)
        return None


def _host_name(host: str) -> str:
    """Return a Host header without its port, in lower case; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() and not host.endswith("]") else host.lower()
