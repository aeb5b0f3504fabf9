"""Refuses text and numbers that a database cannot store, in any field of any call."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from fastapi import Depends, Request

from service.errors import Fault, Invalid
from service.http.problems import MOST_FAULTS

MOST_LEVELS = 64
_MOST_INTEGER = 2**63
_JSON = "application/json"


async def _check(request: Request) -> None:
    """Raise `Invalid` with the fields that PostgreSQL cannot store; also on SQLite."""
    for name, text in (*request.path_params.items(), *request.query_params.multi_items()):
        message = _objection(name) or _objection(text)
        if message is not None:
            raise Invalid([Fault(_printable(name), message, text)])
    # Starlette caches the parsed body, so FastAPI does not read it again.
    is_json = request.headers.get("content-type", "").startswith(_JSON)
    if is_json and await request.body():
        faults = list(islice(_faults(await request.json(), "", 0), MOST_FAULTS))
        if faults:
            raise Invalid(faults)


storable = Depends(_check)


def _faults(value: Any, where: str, level: int) -> Iterator[Fault]:
    message = _objection(value)
    if message is not None:
        yield Fault(where or "body", message, value)
    if not isinstance(value, dict | list):
        return
    if level == MOST_LEVELS:
        yield Fault(where, f"is nested more than {MOST_LEVELS} levels deep")
        return
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(key, str) and _objection(key) is not None:
            yield Fault(where or "body", f"has a key that {_objection(key)}", key)
        else:
            yield from _faults(one, f"{where}.{key}" if where else str(key), level + 1)


def _objection(value: Any) -> str | None:
    match value:
        case str() if "\0" in value:
            return "must not contain the character NUL"
        case str() if _printable(value) != value:
            return "must be Unicode text, without halves of surrogate pairs"
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case int() if abs(value) >= _MOST_INTEGER:
            return "must be less than 2^63"
    return None


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
