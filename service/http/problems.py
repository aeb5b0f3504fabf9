"""Errors as problem documents (RFC 9457)."""

import errno
import logging
import re
import sqlite3
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.errors import DiskFull, Invalid, ServiceError, StoreAway, fault_of
from service.store.database import STORE_FAILS

_POSTGRESQL_DISK_FULL = "53100"
MEDIA_TYPE = "application/problem+json"
_HEADERS_BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}

_NAMES_BY_STATUS = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "TooLarge",
}

MOST_FAULTS = 100
MAX_SHOWN_CHARACTERS = 2000
"""Faults in one problem document, and characters of each given text in it."""

log = logging.getLogger(__name__)


def type_of(name: str) -> str:
    """Return the problem type of an error class: `NotFound` is `urn:...:not-found`."""
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
    return f"urn:activation-search:problem:{kind}"


PLAIN_PROBLEMS = {
    type_of("BadRequest"): "The request cannot be read.",
    type_of("MethodNotAllowed"): "The path does not take this method.",
    type_of("InternalError"): "The service is at fault; its log knows the request id.",
}
"""Problem types that have no error class, with their meaning."""


def add_problem_handlers(app: FastAPI) -> None:
    """Make the app answer every error with a problem document."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _disk_error)
    for error in STORE_FAILS:
        app.add_exception_handler(error, _store_error)


def problem_response(request: Request, error: ServiceError) -> Response:
    """Return the response for an error: problem document, status and headers."""
    headers = {**_HEADERS_BY_STATUS.get(error.status, {}), **error.headers}
    body = problem_document(error, request.url.path)
    return JSONResponse(body, int(error.status), media_type=MEDIA_TYPE, headers=headers)


def problem_document(error: ServiceError, path: str) -> dict[str, Any]:
    """Return the problem document of an error that a request to a path led to."""
    return _document(type(error).__name__, error.status, str(error), path, **error.details)


def _document(
    name: str, status: HTTPStatus, detail: str, path: str, **members: Any
) -> dict[str, Any]:
    return {
        "type": type_of(name),
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": path,
        "request_id": structlog.contextvars.get_contextvars().get("request"),
        **{key: _json_safe(value) for key, value in members.items()},
    }


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [fault_of(one) for one in error.errors()[:MOST_FAULTS]]
    return problem_response(request, Invalid(faults))


async def _store_error(request: Request, error: Exception) -> Response:
    """Answer that the database does not respond (disconnected, restarting, busy), or is full."""
    log.warning("the database does not respond: %s", error)
    driver = getattr(error, "orig", None)
    is_full = (
        getattr(driver, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(driver, "sqlstate", None) == _POSTGRESQL_DISK_FULL
    )
    return problem_response(request, DiskFull() if is_full else StoreAway())


async def _disk_error(request: Request, error: Exception) -> Response:
    """Answer that a file could not be stored because the disk or the quota is full."""
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    log.warning("the disk is full: %s", error)
    return problem_response(request, DiskFull())


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    name = _NAMES_BY_STATUS.get(status, "BadRequest")
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of one route only; several routes may share a path.
        allowed = _allowed_methods(request.app.openapi(), request.url.path)
        headers["Allow"] = ", ".join(allowed) or headers["Allow"]
    body = _document(name, status, str(error.detail), request.url.path)
    return JSONResponse(body, int(status), media_type=MEDIA_TYPE, headers=headers)


def internal_error(request: Request) -> Response:
    """Return the response to an unexpected exception; the cause is in the log only."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "the service failed to answer; its log says why under this request id"
    body = _document("InternalError", status, detail, request.url.path)
    return JSONResponse(body, int(status), media_type=MEDIA_TYPE)


def _json_safe(value: Any) -> Any:
    """Return a value that JSON can represent: the given one may contain anything, as NaN."""
    if isinstance(value, dict):
        return {str(key): _json_safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(one) for one in value]
    if isinstance(value, str):
        # Halves of surrogate pairs cannot be encoded as UTF-8: they are shown escaped.
        short = (
            value if len(value) <= MAX_SHOWN_CHARACTERS else f"{value[:MAX_SHOWN_CHARACTERS]}..."
        )
        return short.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return repr(value)


def _allowed_methods(document: dict[str, Any], path: str) -> list[str]:
    """Return the methods that the OpenAPI document has for a path."""
    if path in document["paths"]:
        return sorted(method.upper() for method in document["paths"][path])
    return sorted(
        method.upper()
        for template, methods in document["paths"].items()
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path)
        for method in methods
    )
