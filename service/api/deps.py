"""What a route may ask for."""

import asyncio
import hmac
from collections.abc import Iterator
from typing import Annotated, cast

from fastapi import Depends, Header, Query, Request
from sqlalchemy.orm import Session

from service.core import Core
from service.errors import Unauthorized
from service.scheduler import WaitingRoom
from service.store import attempts
from service.store.cursor import Cursor, decode


def _core(request: Request) -> Core:
    return cast(Core, request.app.state.core)


def _waiting_room(request: Request) -> WaitingRoom:
    return cast(WaitingRoom, request.app.state.waiting_room)


Parts = Annotated[Core, Depends(_core)]
Work = Annotated[WaitingRoom, Depends(_waiting_room)]


def _reader(core: Parts) -> Iterator[Session]:
    with core.database.read() as session:
        yield session


def _cursor(cursor: Annotated[str | None, Query()] = None) -> Cursor | None:
    return decode(cursor)


# scope="function" ends the transaction before the answer is sent; the default would answer
# first and lose the error if the commit then failed.
Reader = Annotated[Session, Depends(_reader, scope="function")]
After = Annotated[Cursor | None, Depends(_cursor)]
Limit = Annotated[int, Query(ge=1, le=500)]


async def admin(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
    """Let pass whoever carries the service's token, or anyone where there is none."""
    expected = cast("str | None", request.app.state.admin_token)
    if expected is not None and not _same(_bearer(authorization), expected):
        raise Unauthorized


async def attempt(
    request: Request, core: Parts, lease: str, authorization: Annotated[str | None, Header()] = None
) -> str:
    """Let pass the attempt itself, by its own token, and the admin; return the lease."""
    if not _same(_bearer(authorization), core.attempt_token(lease)):
        await admin(request, authorization)
    return lease


async def reader_of_trial(
    request: Request, core: Parts, id: str, authorization: Annotated[str | None, Header()] = None
) -> str:
    """Let pass an attempt at this trial, which resumes from its files, and the admin."""
    token = _bearer(authorization)
    lease = token.split("-")[1] if token.startswith("attempt-") else ""
    known = bool(lease) and _same(token, core.attempt_token(lease))
    if not known or await asyncio.to_thread(_trial_of, core, lease) != id:
        await admin(request, authorization)
    return id


Lease = Annotated[str, Depends(attempt)]
ReadableTrial = Annotated[str, Depends(reader_of_trial)]


def _trial_of(core: Core, lease: str) -> str | None:
    with core.database.read() as session:
        found = attempts.find(session, lease)
        return None if found is None else found.trial_id


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
