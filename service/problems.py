"""Errors as problem documents (RFC 9457)."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from search_space.search import BRANCHES
from service.errors import Fault, Invalid, ServiceError, StoreAway

MEDIA_TYPE = "application/problem+json"
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}

log = logging.getLogger(__name__)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error as a problem document."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for lost in (OperationalError, InternalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(lost, _store_error)


def problem_response(request: Request, error: ServiceError) -> Response:
    name = type(error).__name__
    headers = _HEADERS.get(error.status)
    return _problem(request, name, error.status, str(error), headers=headers, **error.details)


def _problem(
    request: Request,
    name: str,
    status: HTTPStatus,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    kind = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
    body = {
        "type": f"urn:activation-search:problem:{kind}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.url.path,
        **{key: _plain(value) for key, value in members.items()},
    }
    return JSONResponse(body, status_code=int(status), media_type=MEDIA_TYPE, headers=headers)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(request, Invalid([fault_of(one) for one in error.errors()]))


async def _store_error(request: Request, error: Exception) -> Response:
    """Answer that the database is away: cut off, restarting, full, or too busy."""
    log.warning("the database does not answer: %s", error)
    return problem_response(request, StoreAway())


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return _problem(request, status.name.title().replace("_", ""), status, str(error.detail))


def fault_of(error: Any) -> Fault:
    """Read one of pydantic's errors: the field as a user would write it, what was given."""
    places = ("body", "query", "header", "path", *BRANCHES)
    where = [str(part) for part in error["loc"] if part not in places]
    message = error["msg"].removeprefix("Value error, ")
    given = None if error["type"] in ("missing", "json_invalid") else error.get("input")
    return Fault(".".join(where) or "body", message, given)


def _plain(value: Any) -> Any:
    """Return a value as JSON can carry it: what was given may hold anything, NaN included."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return repr(value)
