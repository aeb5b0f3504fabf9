"""Authentication: scopes, bearer tokens, and the cookie of a signed-in page."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from itsdangerous import BadSignature, Signer
from sqlalchemy.orm import Session

from service.schemas.scopes import Scope
from service.store import tokens
from service.store.models import Token
from service.store.searches import clock

SESSION_COOKIE = "actsearch_session"
SESSION_SECONDS = 12 * 3600
ADMIN_ID = "admin"
"""Id of the admin token in a cookie: that token comes from a file and has no row."""

_PREFIX = "act"
_WORKER_ID = "worker"


GRANTS: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.READ}),
    Scope.WORK: frozenset({Scope.WORK}),
    Scope.ADMIN: frozenset(Scope),
}
"""The scopes that each scope includes: submit includes read, work includes nothing else."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated sender of a request.

    Attributes:
        id: Id of the token; None where the service accepts requests without a token.
        digest: Digest of the token. A cookie is bound to it, so that it ends with its token.
        expires_at: Seconds since the epoch; None: never.
    """

    id: str | None
    scopes: frozenset[Scope]
    digest: str = ""
    expires_at: float | None = None


class Authenticator:
    """Checks tokens and cookies. Without an admin token every request has all scopes.

    Args:
        admin_token: The token in the admin token file; None: requests need no token. The
            settings allow that on loopback only.
        worker_token: A token with the scope work, for workers that are deployed together with
            the service. None: make one for the worker that this process starts; it is not stored.
    """

    def __init__(self, admin_token: str | None, worker_token: str | None = None) -> None:
        self.is_open = admin_token is None
        self.worker_token = worker_token or _generate_token(_WORKER_ID)
        self._admin = Principal(ADMIN_ID, GRANTS[Scope.ADMIN], digest_of(admin_token or ""))
        self._worker = Principal(_WORKER_ID, GRANTS[Scope.WORK], digest_of(self.worker_token))

    def by_token(self, session: Session, token: str) -> Principal | None:
        """Return the principal of a token, or None if the token is unknown or has expired."""
        digest = digest_of(token)
        for known in (self._admin, self._worker):
            # An open service has the digest of the empty token as admin: nobody may match it.
            if not self.is_open and hmac.compare_digest(digest, known.digest):
                return known
        row = _stored(session, _token_id(token))
        if row is None or not hmac.compare_digest(digest, row.sha256):
            return None
        return _principal(row)

    def by_cookie(self, session: Session, cookie: str, key: bytes) -> Principal | None:
        """Return the principal of a cookie, or None if the cookie or its token is not valid."""
        # The id is read before the signature is checked: it says whose digest the signature
        # must contain. It is trusted only once the signature is valid.
        principal = self._by_id(session, cookie.partition(".")[0])
        if principal is None:
            return None
        try:
            signed = _signer(key, principal).unsign(cookie).decode()
        except BadSignature:
            return None
        expires = int(signed.rpartition(".")[2])
        return principal if expires > clock(session) else None

    def sign_in(self, session: Session, principal: Principal, key: bytes) -> tuple[str, int]:
        """Return a new cookie for the owner of a token, and the seconds until it expires."""
        # The database's clock, as for every other expiry: the service's clock may be wrong.
        # A TimestampSigner would use the service's.
        now = clock(session)
        end = now + SESSION_SECONDS
        expires = int(min(end, principal.expires_at or end))
        cookie = _signer(key, principal).sign(f"{principal.id}.{expires}").decode()
        return cookie, max(0, expires - int(now))

    def anonymous(self) -> Principal:
        """Return the principal of every request to a service that needs no token."""
        return Principal(None, GRANTS[Scope.ADMIN])

    def _by_id(self, session: Session, token_id: str) -> Principal | None:
        if token_id == ADMIN_ID and not self.is_open:
            return self._admin
        row = _stored(session, token_id)
        return None if row is None else _principal(row)


def new_token(
    session: Session, *, name: str, scopes: Iterable[Scope], lifetime: float | None
) -> tuple[Token, str]:
    """Create a token; return its row and the token itself, of which only a digest is stored.

    Args:
        lifetime: Seconds; None: until the token is revoked.
    """
    token_id = secrets.token_hex(8)
    token = _generate_token(token_id)
    row = tokens.add(
        session,
        token_id,
        name=name,
        sha256=digest_of(token),
        scopes=sorted(set(scopes)),
        lasts=lifetime,
    )
    return row, token


def equal_secrets(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    # As bytes: compare_digest raises on text that is not ASCII, and a request may hold any text.
    return hmac.compare_digest(given.encode(), expected.encode())


def digest_of(token: str) -> str:
    """Return the digest by which a token is stored and compared."""
    # Our tokens are 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(token.encode()).hexdigest()


def _generate_token(token_id: str) -> str:
    return f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(32)}"


def _token_id(token: str) -> str:
    prefix, _, rest = token.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


def _stored(session: Session, token_id: str) -> Token | None:
    # Ids are hexadecimal. A quoted cookie may contain NUL, which PostgreSQL takes in no text.
    return tokens.valid(session, token_id) if token_id.isalnum() else None


def _principal(row: Token) -> Principal:
    granted = frozenset[Scope]().union(*(GRANTS[Scope(scope)] for scope in row.scopes))
    return Principal(row.id, granted, row.sha256, row.expires_at)


def _signer(key: bytes, principal: Principal) -> Signer:
    # The salt separates cookies from everything else that the key signs. The digest is in the
    # salt, not in the cookie: a replaced token invalidates the cookie, and nobody who copies a
    # cookie can guess a weak admin token from its digest.
    salt = f"session.{principal.digest}"
    return Signer(key, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
