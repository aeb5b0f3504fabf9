"""Tokens, and the session of the page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from search_space.contract import PROTOCOL
from service.api.deps import After, Identified, Limit, ReadSession, ServiceContext, administers
from service.errors import Unauthorized
from service.http.auth import SESSION_COOKIE, Authenticator, Caller, new_token
from service.runtime.context import Context
from service.schemas.base import Page
from service.schemas.tokens import NewTokenAnswer, SessionAnswer, SignIn, TokenAnswer, TokenRequest
from service.store import tokens
from service.store.cursor import Cursor
from service.versions import versions

router = APIRouter(tags=["access"])


def _access(request: Request) -> Authenticator:
    access: Authenticator = request.app.state.access
    return access


Auth = Annotated[Authenticator, Depends(_access)]


@router.post("/tokens", dependencies=[administers], status_code=status.HTTP_201_CREATED)
def create_token(body: TokenRequest, context: ServiceContext) -> NewTokenAnswer:
    """Make a token. It is shown in this answer and never again."""
    with context.database.write() as session:
        row, token = new_token(
            session, name=body.name, scopes=body.scopes, lasts=body.expires_in_seconds
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
    body: SignIn, context: ServiceContext, access: Auth, request: Request, response: Response
) -> SessionAnswer:
    """Exchange a token for a cookie that no script can read."""
    if access.is_open:
        return _answer(access, access.everyone())
    caller = _who(context, access, body.token)
    with context.database.read() as session:
        cookie, seconds = access.sign_in(session, caller, context.key)
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _answer(access, caller)


@router.get("/session")
def read_session(caller: Identified, access: Auth) -> SessionAnswer:
    """Say who calls and what they may do."""
    return _answer(access, caller)


@router.delete("/session", status_code=status.HTTP_204_NO_CONTENT)
def sign_out(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")


def _who(context: Context, access: Authenticator, token: str) -> Caller:
    with context.database.read() as session:
        caller = access.by_token(session, token.strip())
    if caller is None:
        raise Unauthorized
    return caller


def _answer(access: Authenticator, caller: Caller) -> SessionAnswer:
    return SessionAnswer(
        open=access.is_open,
        scopes=sorted(caller.scopes),
        expires_at=caller.expires_at,
        version=versions()["activation-search"],
        protocol=PROTOCOL,
    )
