"""The OpenAPI document of a service, and how two of them differ, in short lines."""

import json
from collections.abc import Iterator
from math import isclose
from typing import Any

from tests.support.serving import Served

REQUEST_ID = {"X-Request-ID": "compatibility"}
"""Problem documents, also those shown as examples, repeat the id of the request."""


def document_of(served: Served) -> dict[str, Any]:
    answer = served.http.get(f"{served.url}/openapi.json", headers=REQUEST_ID)
    return dict(answer.raise_for_status().json())


def without_version(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with a placeholder for the version, also in examples of answers."""
    version = json.dumps(document["info"]["version"])
    return dict(json.loads(json.dumps(document).replace(version, '"VERSION"')))


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each place where two JSON documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            at = f"{where} > {key}" if where else str(key)
            if key not in new:
                yield f"removed {at}"
            elif key not in old:
                yield f"added {at}"
            else:
                yield from differences(old[key], new[key], at)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{where}[{place}]")
    elif not _same(old, new):
        yield f"changed {where}: {_short(old)} -> {_short(new)}"


def _same(old: Any, new: Any) -> bool:
    """Whether two values are equal; the last digits of a float depend on the processor."""
    if isinstance(old, float) and isinstance(new, float):
        return isclose(old, new, rel_tol=1e-9)
    return type(old) is type(new) and bool(old == new)


def _short(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
