"""Reads and writes of tokens. Only their hashes are stored."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from service.errors import NotFound
from service.store.cursor import Cursor
from service.store.database import now
from service.store.models import Token


def add(
    session: Session,
    token_id: str,
    *,
    name: str,
    sha256: str,
    scopes: Sequence[str],
    lasts: float | None,
) -> Token:
    """Add a token that is valid for `lasts` seconds, or for ever."""
    token = Token(
        id=token_id,
        name=name,
        sha256=sha256,
        scopes=list(scopes),
        created_at=now(),
        expires_at=None if lasts is None else now() + lasts,
    )
    session.add(token)
    session.flush()
    session.refresh(token)
    return token


def valid(session: Session, token_id: str) -> Token | None:
    """Return a token if it has not expired."""
    lasts = or_(Token.expires_at.is_(None), Token.expires_at > now())
    return session.scalars(select(Token).where(Token.id == token_id, lasts)).one_or_none()


def page(session: Session, *, after: Cursor | None, limit: int) -> Sequence[Token]:
    """Return tokens, including expired ones, the newest first."""
    query = select(Token).order_by(Token.created_at.desc(), Token.id.desc()).limit(limit)
    if after is not None:
        before = (Token.created_at < after.key) | (
            (Token.created_at == after.key) & (Token.id < after.id)
        )
        query = query.where(before)
    return session.scalars(query).all()


def revoke(session: Session, token_id: str) -> None:
    """Delete a token, or raise `NotFound`."""
    token = session.get(Token, token_id)
    if token is None:
        raise NotFound("token", token_id)
    session.delete(token)
