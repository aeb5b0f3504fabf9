"""Request bodies that are not JSON."""

from typing import Any

UNLIMITED = 2**50
"""For uploads: the limit of the settings is checked while the body arrives."""


def binary_body() -> dict[str, Any]:
    """Return the OpenAPI description of a binary body, new for each route: examples are added."""
    content = {"application/octet-stream": {"schema": {"format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}}
