"""Turns what a user gives the client into what the service is sent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.client.transport import ClientError
from service.schemas.document_text import (
    DocumentError,
    parse_document,
    read_text,
    require_object,
)

_EXPECTED = "an object with the key 'task'"


def read_search(document: Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    """Return a search that is given as data, as text, as a file or as the name of a file.

    Raises:
        ClientError: If it cannot be read, or is no object.
    """
    if isinstance(document, Mapping):
        return document
    subject = "the search"
    try:
        if isinstance(document, str):
            data = parse_document(document)
            if not isinstance(data, str):
                return require_object(data, _EXPECTED)
            # The text of a search is an object, so a plain string names a file.
            document = Path(data)
        subject = f"the search {document}"
        return require_object(parse_document(read_text(document)), _EXPECTED)
    except DocumentError as error:
        raise ClientError(None, f"{subject} {error}") from None


def to_json(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON.

    Raises:
        ClientError: If it holds what JSON has no form for.
    """
    try:
        return json.dumps(document).encode()
    except (TypeError, ValueError) as error:
        raise ClientError(None, f"the document cannot be written as JSON: {error}") from None
