"""What every answer of the API shares: how it is made, pages, times, problems."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _from_epoch(seconds: Any) -> Any:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, float) else seconds


Time = Annotated[datetime, BeforeValidator(_from_epoch)]
Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of what the API answers; made from rows by their attributes."""

    model_config = ConfigDict(from_attributes=True, allow_inf_nan=False)


class Page(Answer, Generic[Item]):
    """A page of a list; `next` is the cursor of the following one."""

    items: list[Item]
    next: str | None


class Problem(Answer):
    """An error, as RFC 9457 has it; `errors` names the fields at fault."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None
    errors: list[dict[str, Any]] = []
