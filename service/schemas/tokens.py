"""What the API takes and answers about tokens and sessions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.base import Answer, Time
from service.schemas.scopes import Scope

MAX_TOKEN_SECONDS = 10 * 366 * 86400


class TokenRequest(BaseModel):
    """A token to be made. Without `expires_in_seconds` it lasts until it is revoked."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_in_seconds: Annotated[float | None, Field(gt=0, le=MAX_TOKEN_SECONDS)] = None


class TokenAnswer(Answer):
    id: str
    name: str
    scopes: list[Scope]
    created_at: Time
    expires_at: Time | None


class NewTokenAnswer(TokenAnswer):
    """A token just made. `token` is stored nowhere and shown this once."""

    token: str


class SignIn(BaseModel):
    """A token, to be exchanged for a cookie."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=1000)]


class SessionAnswer(Answer):
    """Who calls, and what they may do. `open` says that this service asks for no token.

    `version` is that of the service, `protocol` the one that it speaks with workers.
    """

    open: bool
    scopes: list[Scope]
    expires_at: Time | None
    version: str
    protocol: int
