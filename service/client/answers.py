"""Reads the service's answers; an answer that does not fit is a `ClientError`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from service.client.transport import ClientError

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")


def read_one(model: type[Answer], response: httpx2.Response) -> Answer:
    """Return the object in a response."""
    return read_answer(response, lambda: model.model_validate_json(response.content))


def read_list(model: type[Answer], response: httpx2.Response) -> Sequence[Answer]:
    """Return the objects of the list in a response."""
    return read_answer(response, lambda: [model.model_validate(one) for one in response.json()])


def read_page(
    model: type[Answer], response: httpx2.Response
) -> tuple[Sequence[Answer], str | None]:
    """Return the objects of a page, and the cursor of the next page; None: it is the last."""

    def read() -> tuple[Sequence[Answer], Any]:
        page = response.json()
        return [model.model_validate(item) for item in page["items"]], page["next"]

    return read_answer(response, read)


def read_answer(response: httpx2.Response, read: Callable[[], Result]) -> Result:
    """Return what `read` makes of a response.

    Raises:
        ClientError: If the response is not what a service of this version sends.
    """
    try:
        return read()
    # Another program may answer at this URL, with any JSON or none.
    except (ValidationError, ValueError, LookupError, TypeError) as error:
        text = f"{response.url} is not answered by an activation search of this version: {error}"
        raise ClientError(None, text) from None
