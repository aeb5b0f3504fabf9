"""Errors of the service. Each class has the HTTP status of its answer."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from search_space.search_sections import BRANCHES


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request: the field, what is wrong with it, and the given value."""

    field: str
    message: str
    given: Any = None


class CannotStart(Exception):
    """The service cannot start with these settings or on this machine."""


class ServiceError(Exception):
    """Base of every error a client may see."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def details(self) -> dict[str, Any]:
        """Further members of the problem document."""
        return {}

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the answer."""
        return {}


class NotFound(ServiceError):
    """The thing asked for does not exist."""

    status = HTTPStatus.NOT_FOUND

    def __init__(self, kind: str, id: str, reason: str = "") -> None:
        super().__init__(kind, id, reason)
        self.kind = kind
        self.id = id
        self.reason = reason

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.id!r}{self.reason}"


class Invalid(ServiceError):
    """A request is well-formed but says something that cannot be."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "; ".join(f"{fault.field}: {fault.message}" for fault in self.faults)

    @property
    def details(self) -> dict[str, Any]:
        return {"errors": [asdict(fault) for fault in self.faults]}


class WrongState(ServiceError):
    """The search is not in a state in which this can be done."""

    status = HTTPStatus.CONFLICT

    def __init__(self, action: str, state: str, allowed: Sequence[str]) -> None:
        super().__init__(action, state, tuple(allowed))
        self.action = action
        self.state = state
        self.allowed = tuple(allowed)

    def __str__(self) -> str:
        return f"cannot {self.action} a search that is {self.state}; " + (
            f"it must be {' or '.join(self.allowed)}"
        )


class NotReady(ServiceError):
    """The answer does not exist yet."""

    status = HTTPStatus.CONFLICT

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"there is no {self.what} yet: {self.why}"


class KeyReused(ServiceError):
    """An Idempotency-Key came again with another body."""

    status = HTTPStatus.CONFLICT

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the Idempotency-Key {self.key!r} was used with another body; use a new key"


class LeaseLost(ServiceError):
    """A word came from an attempt that has ended or was superseded."""

    status = HTTPStatus.CONFLICT

    def __init__(self, lease: str) -> None:
        super().__init__(lease)
        self.lease = lease

    def __str__(self) -> str:
        return f"the lease {self.lease!r} has ended or was given to another attempt; stop"


class BadProtocol(ServiceError):
    """The worker speaks no protocol that this service speaks."""

    status = HTTPStatus.UPGRADE_REQUIRED

    def __init__(self, low: int, high: int, ours: int) -> None:
        super().__init__(low, high, ours)
        self.low = low
        self.high = high
        self.ours = ours

    def __str__(self) -> str:
        return (
            f"the worker speaks protocols {self.low} to {self.high}, this service speaks "
            f"{self.ours}; install the same version on both"
        )


class Unauthorized(ServiceError):
    """The request carries no token, or one that is not valid here."""

    status = HTTPStatus.UNAUTHORIZED

    def __str__(self) -> str:
        return "a valid bearer token is required: 'Authorization: Bearer TOKEN'"


class Forbidden(ServiceError):
    """The request carries a valid token, which does not allow this."""

    status = HTTPStatus.FORBIDDEN

    def __init__(self, needed: str, given: Collection[str]) -> None:
        super().__init__(needed, tuple(sorted(given)))
        self.needed = needed
        self.given = tuple(sorted(given))

    def __str__(self) -> str:
        has = ", ".join(self.given) or "nothing"
        return f"this needs a token with the scope {str(self.needed)!r}; yours allows {has}"


class BadHost(ServiceError):
    """The Host header names a host that this service does not answer for."""

    status = HTTPStatus.MISDIRECTED_REQUEST

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host

    def __str__(self) -> str:
        return f"this service does not answer for host {self.host!r}; see ACTSEARCH_ALLOWED_HOSTS"


class BadContentType(ServiceError):
    """A write did not name the content type that the call takes."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self, given: str, expected: str) -> None:
        super().__init__(given, expected)
        self.given = given
        self.expected = expected

    def __str__(self) -> str:
        return f"content-type must be {self.expected}, got {self.given or 'none'}"


class Unavailable(ServiceError):
    """Base of what passes: the same request may be made again in a moment."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class StandingBy(Unavailable):
    """Another process is the owner of the store; this one takes over when that one is gone."""

    def __str__(self) -> str:
        return "this process stands by while another one decides; ask that one, or again"


class Starting(Unavailable):
    """The service has only begun: it waits for its database, or migrates it."""

    def __str__(self) -> str:
        return "the service starts: its database is brought up to date; ask again in a moment"


class StoreAway(Unavailable):
    """The database does not answer."""

    def __str__(self) -> str:
        return "the database does not answer at present; nothing was changed; try again"


class DiskFull(ServiceError):
    """There is no room for what shall be stored."""

    status = HTTPStatus.INSUFFICIENT_STORAGE

    def __str__(self) -> str:
        return "the service's disk is full; nothing was changed; make room, then try again"


class Damaged(ServiceError):
    """A stored file is not what was stored."""

    def __init__(self, sha256: str) -> None:
        super().__init__(sha256)
        self.sha256 = sha256

    def __str__(self) -> str:
        return f"the stored file {self.sha256} is damaged"


class TooManyRequests(ServiceError):
    """One client calls more often than the service lets it."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"too many requests; ask again in {self.seconds} s"

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.seconds)}


class TooLarge(ServiceError):
    """A body is larger than the service takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the body is larger than {self.limit} bytes"


def fault_of(error: Any) -> Fault:
    """Convert an error of pydantic; the field is written as in the request."""
    places = ("body", "query", "header", "path", *BRANCHES)
    where = [str(part) for part in error["loc"] if part not in places]
    message = error["msg"].removeprefix("Value error, ")
    given = None if error["type"] in ("missing", "json_invalid") else error.get("input")
    return Fault(".".join(where) or "body", message, given)
