"""Tokens, and the session of the page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from search_space.contract import PROTOCOL
from service.api.deps import After, Authenticated, Limit, ReadSession, ServiceContext, administers
from service.errors import Unauthorized
from service.http.auth import SESSION_COOKIE, Authenticator, Principal, new_token
from service.runtime.context import Context
from service.schemas.base import Page
from service.schemas.tokens import NewTokenAnswer, SessionAnswer, SignIn, TokenAnswer, TokenRequest
from service.store import tokens
from service.store.cursor import Cursor
from service.versions import versions

router = APIRouter(tags=["access"])


def _authenticator(request: Request) -> Authenticator:
    authenticator: Authenticator = request.app.state.access
    return authenticator


Auth = Annotated[Authenticator, Depends(_authenticator)]


@router.post("/tokens", dependencies=[administers], status_code=status.HTTP_201_CREATED)
def create_token(body: TokenRequest, context: ServiceContext) -> NewTokenAnswer:
    """Make a token. It is shown in this answer and never again."""
    with context.database.write() as session:
        row, token = new_token(
            session, name=body.name, scopes=body.scopes, lifetime=body.expires_in_seconds
        )
        known = TokenAnswer.model_validate(row)
    return NewTokenAnswer(**known.model_dump(), token=token)


@router.get("/tokens", dependencies=[administers])
def list_tokens(session: ReadSession, after: After, limit: Limit = 50) -> Page[TokenAnswer]:
    """List the tokens, newest first; not what they are, which nobody knows."""
    found = tokens.page(session, after=after, limit=limit + 1)
    shown = found[:limit]
    cursor = Cursor(shown[-1].created_at, shown[-1].id) if len(found) > limit else None
    return Page(
        items=[TokenAnswer.model_validate(row) for row in shown],
        next=None if cursor is None else cursor.encode(),
    )


@router.delete("/tokens/{id}", dependencies=[administers], status_code=status.HTTP_204_NO_CONTENT)
def revoke_token(id: str, context: ServiceContext) -> None:
    """Revoke a token at once, and the sessions that it signed in for."""
    with context.database.write() as session:
        tokens.revoke(session, id)


@router.post("/session")
def sign_in(
    body: SignIn, context: ServiceContext, authenticator: Auth, request: Request, response: Response
) -> SessionAnswer:
    """Exchange a token for a cookie that no script can read."""
    if authenticator.is_open:
        return _answer(authenticator, authenticator.anonymous())
    principal = _principal(context, authenticator, body.token)
    with context.database.read() as session:
        cookie, seconds = authenticator.sign_in(session, principal, context.key)
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _answer(authenticator, principal)


@router.get("/session")
def read_session(principal: Authenticated, authenticator: Auth) -> SessionAnswer:
    """Say who calls and what they may do."""
    return _answer(authenticator, principal)


@router.delete("/session", status_code=status.HTTP_204_NO_CONTENT)
def sign_out(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")


def _principal(context: Context, authenticator: Authenticator, token: str) -> Principal:
    with context.database.read() as session:
        principal = authenticator.by_token(session, token.strip())
    if principal is None:
        raise Unauthorized
    return principal


def _answer(authenticator: Authenticator, principal: Principal) -> SessionAnswer:
    return SessionAnswer(
        open=authenticator.is_open,
        scopes=sorted(principal.scopes),
        expires_at=principal.expires_at,
        version=versions()["activation-search"],
        protocol=PROTOCOL,
    )
