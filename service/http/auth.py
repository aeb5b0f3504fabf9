"""Who may do what: scopes, tokens, and the cookie of a page that has signed in."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.schemas.scopes import Scope
from service.store import tokens
from service.store.models import Token
from service.store.searches import clock

SESSION_COOKIE = "actsearch_session"
SESSION_SECONDS = 12 * 3600
ADMIN_ID = "admin"
"""Stands in a cookie for the token of the file, which has no row."""

_PREFIX = "act"
_WORKER_ID = "worker"


GRANTS: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.READ}),
    Scope.WORK: frozenset({Scope.WORK}),
    Scope.ADMIN: frozenset(Scope),
}
"""What each scope allows: who submits also reads, who works does nothing else."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever made a request, once that is known.

    Attributes:
        id: Of the token; None where the service takes requests without one.
        digest: Of the token. A cookie is bound to it, so that it ends with its token.
        expires_at: Seconds since the epoch; None: never.
    """

    id: str | None
    scopes: frozenset[Scope]
    digest: str = ""
    expires_at: float | None = None


class Authenticator:
    """Knows tokens and cookies. Without an admin token everyone is an admin, on loopback.

    Args:
        admin_token: The one of the file.
        worker_token: One that works, for workers that are deployed together with the service.
            Without, one is made for the worker that this process starts, and dies with it.
    """

    def __init__(self, admin_token: str | None, worker_token: str | None = None) -> None:
        self.is_open = admin_token is None
        self.worker_token = worker_token or _new_token(_WORKER_ID)
        self._admin = Caller(ADMIN_ID, GRANTS[Scope.ADMIN], digest_of(admin_token or ""))
        self._worker = Caller(_WORKER_ID, GRANTS[Scope.WORK], digest_of(self.worker_token))

    def by_token(self, session: Session, token: str) -> Caller | None:
        """Return whose token this is, or None when it is not valid, or not any more."""
        digest = digest_of(token)
        for known in (self._admin, self._worker):
            if not self.is_open and hmac.compare_digest(digest, known.digest):
                return known
        row = tokens.valid(session, _id_of(token))
        if row is None or not hmac.compare_digest(digest, row.sha256):
            return None
        return _caller(row)

    def by_cookie(self, session: Session, cookie: str, key: bytes) -> Caller | None:
        """Return who signed in for this cookie, or None when it or its token is not valid."""
        token_id, _, rest = cookie.partition(".")
        expires, _, signature = rest.partition(".")
        caller = self._by_id(session, token_id)
        if caller is None or not same(signature, _sign(key, caller, expires)):
            return None
        return caller if int(expires) > clock(session) else None

    def sign_in(self, session: Session, caller: Caller, key: bytes) -> tuple[str, int]:
        """Return the cookie of a caller who showed a token, and the seconds that it lasts."""
        began = clock(session)
        ends = began + SESSION_SECONDS
        expires = int(min(ends, caller.expires_at or ends))
        cookie = f"{caller.id}.{expires}.{_sign(key, caller, str(expires))}"
        return cookie, max(0, expires - int(began))

    def everyone(self) -> Caller:
        """Return who calls a service that asks for no token."""
        return Caller(None, GRANTS[Scope.ADMIN])

    def _by_id(self, session: Session, token_id: str) -> Caller | None:
        if token_id == ADMIN_ID and not self.is_open:
            return self._admin
        row = tokens.valid(session, token_id)
        return None if row is None else _caller(row)


def new_token(
    session: Session, *, name: str, scopes: Iterable[Scope], lasts: float | None
) -> tuple[Token, str]:
    """Enter a token; return its row and the token itself, which is stored nowhere.

    Args:
        lasts: Seconds; None: until it is revoked.
    """
    token_id = secrets.token_hex(8)
    token = _new_token(token_id)
    row = tokens.add(
        session,
        token_id,
        name=name,
        sha256=digest_of(token),
        scopes=sorted(set(scopes)),
        lasts=lasts,
    )
    return row, token


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal; how long it takes tells nothing."""
    return hmac.compare_digest(given.encode(), expected.encode())


def digest_of(token: str) -> str:
    # Our tokens are 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(token.encode()).hexdigest()


def _new_token(token_id: str) -> str:
    return f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"


def _id_of(token: str) -> str:
    prefix, _, rest = token.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


def _caller(row: Token) -> Caller:
    granted = frozenset[Scope]().union(*(GRANTS[Scope(scope)] for scope in row.scopes))
    return Caller(row.id, granted, row.sha256, row.expires_at)


def _sign(key: bytes, caller: Caller, expires: str) -> str:
    said = f"session.{caller.id}.{caller.digest}.{expires}"
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()
