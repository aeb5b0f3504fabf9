"""What a route may ask for."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, FastAPI, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from service.access import SESSION_COOKIE, Access, Caller, Scope, same
from service.core import Core
from service.errors import Forbidden, Starting, Unauthorized
from service.insight.studio import Studio
from service.office import Office
from service.scheduler import WaitingRoom
from service.store import attempts
from service.store.cursor import Cursor, decode


def office_of(app: FastAPI) -> Office:
    """Return the office of a service, or raise `Starting` while there is none yet."""
    office: Office | None = getattr(app.state, "office", None)
    if office is None:
        raise Starting
    return office


def _core(request: Request) -> Core:
    return office_of(request.app).term.core


def _waiting_room(request: Request) -> WaitingRoom:
    return office_of(request.app).term.room


def _studio(request: Request, _: Annotated[Core, Depends(_core)]) -> Studio:
    return cast(Studio, request.app.state.studio)


Parts = Annotated[Core, Depends(_core)]
Work = Annotated[WaitingRoom, Depends(_waiting_room)]
Pictures = Annotated[Studio, Depends(_studio)]


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


_bearer_scheme = HTTPBearer(auto_error=False, description="A token, or the admin token.")
_cookie_scheme = APIKeyCookie(
    name=SESSION_COOKIE, auto_error=False, description="Of a page that signed in."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer_scheme)]
Cookie = Annotated[str | None, Security(_cookie_scheme)]


async def identify(request: Request, core: Parts, bearer: Bearer, cookie: Cookie) -> Caller:
    """Return who calls, by a token or else by the cookie, or raise `Unauthorized`."""
    access = cast(Access, request.app.state.access)
    if access.is_open:
        return access.everyone()
    caller = await asyncio.to_thread(_caller, core, access, _token(bearer), cookie)
    if caller is None:
        raise Unauthorized
    return caller


Identified = Annotated[Caller, Depends(identify)]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Lets pass who may do what a route does, and raises `Forbidden` for others."""

    scope: Scope

    async def __call__(self, caller: Identified) -> None:
        if self.scope not in caller.scopes:
            raise Forbidden(self.scope, caller.scopes)


async def _reads_or_submits(request: Request, caller: Identified) -> None:
    await Allowed(Scope.READ if request.method == "GET" else Scope.SUBMIT)(caller)


reads = Depends(Allowed(Scope.READ))
reads_or_submits = Depends(_reads_or_submits)
works = Depends(Allowed(Scope.WORK))
administers = Depends(Allowed(Scope.ADMIN))


async def attempt(request: Request, core: Parts, lease: str, bearer: Bearer, cookie: Cookie) -> str:
    """Let pass the attempt itself, by its own token, and the admin; return the lease."""
    if not same(_token(bearer), core.attempt_token(lease)):
        await Allowed(Scope.ADMIN)(await identify(request, core, bearer, cookie))
    return lease


async def reader_of_trial(
    request: Request, core: Parts, id: str, bearer: Bearer, cookie: Cookie
) -> str:
    """Let pass an attempt at this trial, which resumes from its files, and who may read."""
    token = _token(bearer)
    lease = token.split("-")[1] if token.startswith("attempt-") else ""
    known = bool(lease) and same(token, core.attempt_token(lease))
    if not known or await asyncio.to_thread(_trial_of, core, lease) != id:
        await Allowed(Scope.READ)(await identify(request, core, bearer, cookie))
    return id


Lease = Annotated[str, Depends(attempt)]
ReadableTrial = Annotated[str, Depends(reader_of_trial)]


def _trial_of(core: Core, lease: str) -> str | None:
    with core.database.read() as session:
        found = attempts.find(session, lease)
        return None if found is None else found.trial_id


def _caller(core: Core, access: Access, token: str, cookie: str | None) -> Caller | None:
    if not token and cookie is None:
        return None
    with core.database.read() as session:
        if token:
            return access.by_token(session, token)
        return access.by_cookie(session, cookie or "", core.key)


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    return "" if bearer is None else bearer.credentials.strip()
