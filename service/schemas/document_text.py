"""Reads documents that people write, in YAML or JSON, from text and from files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class DocumentError(ValueError):
    """A document cannot be used.

    Attributes:
        problem: What is wrong, as the end of a sentence: `is neither YAML nor JSON: ...`. The
            caller knows what the document is, and begins the sentence.
        given: The value at fault; None where the text has none.
    """

    def __init__(self, problem: str, given: Any = None) -> None:
        super().__init__(problem, given)
        self.problem = problem
        self.given = given

    def __str__(self) -> str:
        return self.problem if self.given is None else f"{self.problem}, got {self.given!r}"


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        DocumentError: If the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DocumentError(f"cannot be read: {error}") from None


def parse_document(text: str, *, allow_aliases: bool = True) -> Any:
    """Return what a text in YAML or JSON holds.

    Args:
        allow_aliases: Whether YAML's aliases (`*name`) may be used; False for text of strangers.

    Raises:
        DocumentError: If the text is neither YAML nor JSON.
    """
    try:
        # A few lines of aliases of aliases would grow into gigabytes once they are written out.
        if not allow_aliases and any(isinstance(one, yaml.AliasEvent) for one in yaml.parse(text)):
            raise DocumentError("must not use aliases (`*name`)")
        # JSON is a part of YAML.
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DocumentError(f"is neither YAML nor JSON: {error}") from None


def require_object(data: Any, expected: str = "an object") -> dict[str, Any]:
    """Return the data of a document if it is an object.

    Raises:
        DocumentError: If it is anything else; the text names what was `expected`.
    """
    if not isinstance(data, Mapping):
        raise DocumentError(f"must be {expected}", data)
    return dict(data)
