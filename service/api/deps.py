"""Dependencies of the routes: shared parts, pages of a list, and who may call."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, FastAPI, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from service.errors import Forbidden, Starting, Unauthorized
from service.http.auth import SESSION_COOKIE, Authenticator, Principal, equal_secrets
from service.http.rate_limit import identify_client
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


async def authenticate(
    request: Request, context: ServiceContext, bearer: Bearer, cookie: Cookie
) -> Principal:
    """Authenticate a request by its token, else by its cookie, or raise `Unauthorized`."""
    authenticator = cast(Authenticator, request.app.state.access)
    if authenticator.is_open:
        return authenticator.anonymous()
    principal = await asyncio.to_thread(_principal, context, authenticator, _token(bearer), cookie)
    if principal is None:
        raise Unauthorized
    identify_client(request, f"token {principal.id}")
    return principal


Authenticated = Annotated[Principal, Depends(authenticate)]


@dataclass(frozen=True, slots=True)
class RequiresScope:
    """Raises `Forbidden` unless the token of a request includes a scope."""

    scope: Scope

    async def __call__(self, principal: Authenticated) -> None:
        if self.scope not in principal.scopes:
            raise Forbidden(self.scope, principal.scopes)


async def _reads_or_submits(request: Request, principal: Authenticated) -> None:
    await RequiresScope(Scope.READ if request.method == "GET" else Scope.SUBMIT)(principal)


reads = Depends(RequiresScope(Scope.READ))
reads_or_submits = Depends(_reads_or_submits)
works = Depends(RequiresScope(Scope.WORK))
administers = Depends(RequiresScope(Scope.ADMIN))


async def attempt(
    request: Request, context: ServiceContext, lease: str, bearer: Bearer, cookie: Cookie
) -> str:
    """Accept the attempt's own token, or an admin; return the lease."""
    # The attempt's token follows from the lease: computing it costs no database query.
    if equal_secrets(_token(bearer), context.attempt_token(lease)):
        identify_client(request, f"attempt {lease}")
    else:
        await RequiresScope(Scope.ADMIN)(await authenticate(request, context, bearer, cookie))
    return lease


async def reader_of_trial(
    request: Request, context: ServiceContext, id: str, bearer: Bearer, cookie: Cookie
) -> str:
    """Accept the token of an attempt at this trial, or the scope read; return the trial's id."""
    # An attempt resumes from files that an earlier attempt at its trial has stored.
    token = _token(bearer)
    lease = token.split("-")[1] if token.startswith("attempt-") else ""
    is_attempt = bool(lease) and equal_secrets(token, context.attempt_token(lease))
    if is_attempt and await asyncio.to_thread(_trial_of, context, lease) == id:
        identify_client(request, f"attempt {lease}")
    else:
        await RequiresScope(Scope.READ)(await authenticate(request, context, bearer, cookie))
    return id


Lease = Annotated[str, Depends(attempt)]
ReadableTrial = Annotated[str, Depends(reader_of_trial)]


def _trial_of(context: Context, lease: str) -> str | None:
    with context.database.read() as session:
        found = attempts.find(session, lease)
        return None if found is None else found.trial_id


def _principal(
    context: Context, authenticator: Authenticator, token: str, cookie: str | None
) -> Principal | None:
    if not token and cookie is None:
        return None
    with context.database.read() as session:
        if token:
            return authenticator.by_token(session, token)
        return authenticator.by_cookie(session, cookie or "", context.key)


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    return "" if bearer is None else bearer.credentials.strip()
