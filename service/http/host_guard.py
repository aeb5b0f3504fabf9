"""What every request must meet before it reaches a route: DNS rebinding ends here.

A page of another site can make a browser send requests here; it can neither choose the Host
header nor send our content types without asking first.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import BadContentType, BadHost, ServiceError, TooLarge
from service.http.problems import problem_response

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class HostGuard:
    """Refuses unknown hosts, large bodies, and writes without the content type of the call."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], max_body_bytes: int) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._objection(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            response = problem_response(Request(scope), error)
            await response(scope, receive, send)

    def _objection(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        host = _name_of(headers.get("host", ""))
        if host not in self._hosts:
            return BadHost(host)
        if scope["method"] in WRITES:
            is_file = "/artifacts/" in f"{scope['path']}/"
            is_bytes = is_file or scope["path"].endswith("/logs")
            declared = headers.get("content-length", "0")
            if not is_file and declared.isdigit() and int(declared) > self._max_body_bytes:
                return TooLarge(self._max_body_bytes)
            expected = "application/octet-stream" if is_bytes else "application/json"
            given = headers.get("content-type", "").partition(";")[0].strip().lower()
            if given != expected:
                return BadContentType(given, expected)
        return None


def _name_of(host: str) -> str:
    """Return a Host header without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() and not host.endswith("]") else host.lower()
