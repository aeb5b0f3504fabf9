"""What a route may ask for."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, FastAPI, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from service.errors import Forbidden, Starting, Unauthorized
from service.http.auth import SESSION_COOKIE, Authenticator, Caller, same
from service.rendering.cache import RenderCache
from service.runtime.context import Context
from service.runtime.leader import Leader
from service.runtime.lease_queue import LeaseQueue
from service.schemas.scopes import Scope
from service.store import attempts
from service.store.cursor import Cursor, decode


def leader_of(app: FastAPI) -> Leader:
    """Return the leader election of a service, or raise `Starting` while there is none yet."""
    leader: Leader | None = getattr(app.state, "leader", None)
    if leader is None:
        raise Starting
    return leader


def _context(request: Request) -> Context:
    return leader_of(request.app).term.context


def _lease_queue(request: Request) -> LeaseQueue:
    return leader_of(request.app).term.lease_queue


def _render_cache(request: Request, _: Annotated[Context, Depends(_context)]) -> RenderCache:
    return cast(RenderCache, request.app.state.render_cache)


ServiceContext = Annotated[Context, Depends(_context)]
WaitingSlots = Annotated[LeaseQueue, Depends(_lease_queue)]
Renderer = Annotated[RenderCache, Depends(_render_cache)]


def _reader(context: ServiceContext) -> Iterator[Session]:
    with context.database.read() as session:
        yield session


def _cursor(cursor: Annotated[str | None, Query()] = None) -> Cursor | None:
    return decode(cursor)


# scope="function" ends the transaction before the answer is sent; the default would answer
# first and lose the error if the commit then failed.
ReadSession = Annotated[Session, Depends(_reader, scope="function")]
After = Annotated[Cursor | None, Depends(_cursor)]
Limit = Annotated[int, Query(ge=1, le=500)]


_bearer_scheme = HTTPBearer(auto_error=False, description="A token, or the admin token.")
_cookie_scheme = APIKeyCookie(
    name=SESSION_COOKIE, auto_error=False, description="Of a page that signed in."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer_scheme)]
Cookie = Annotated[str | None, Security(_cookie_scheme)]


async def identify(
    request: Request, context: ServiceContext, bearer: Bearer, cookie: Cookie
) -> Caller:
    """Return who calls, by a token or else by the cookie, or raise `Unauthorized`."""
    access = cast(Authenticator, request.app.state.access)
    if access.is_open:
        return access.everyone()
    caller = await asyncio.to_thread(_caller, context, access, _token(bearer), cookie)
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


async def attempt(
    request: Request, context: ServiceContext, lease: str, bearer: Bearer, cookie: Cookie
) -> str:
    """Let pass the attempt itself, by its own token, and the admin; return the lease."""
    if not same(_token(bearer), context.attempt_token(lease)):
        await Allowed(Scope.ADMIN)(await identify(request, context, bearer, cookie))
    return lease


async def reader_of_trial(
    request: Request, context: ServiceContext, id: str, bearer: Bearer, cookie: Cookie
) -> str:
    """Let pass an attempt at this trial, which resumes from its files, and who may read."""
    token = _token(bearer)
    lease = token.split("-")[1] if token.startswith("attempt-") else ""
    known = bool(lease) and same(token, context.attempt_token(lease))
    if not known or await asyncio.to_thread(_trial_of, context, lease) != id:
        await Allowed(Scope.READ)(await identify(request, context, bearer, cookie))
    return id


Lease = Annotated[str, Depends(attempt)]
ReadableTrial = Annotated[str, Depends(reader_of_trial)]


def _trial_of(context: Context, lease: str) -> str | None:
    with context.database.read() as session:
        found = attempts.find(session, lease)
        return None if found is None else found.trial_id


def _caller(
    context: Context, access: Authenticator, token: str, cookie: str | None
) -> Caller | None:
    if not token and cookie is None:
        return None
    with context.database.read() as session:
        if token:
            return access.by_token(session, token)
        return access.by_cookie(session, cookie or "", context.key)


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    return "" if bearer is None else bearer.credentials.strip()
