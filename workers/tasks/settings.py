"""Settings of tasks, as JSON Schema."""

from collections.abc import Mapping, Sequence
from typing import Any

COMPILED = {
    "description": "train by torch.compile, which pays in long trainings on a GPU",
    "type": "boolean",
    "default": False,
}
DETERMINISTIC = {
    "description": "repeat bit for bit on a GPU too, where that is slower",
    "type": "boolean",
    "default": False,
}
FOLDER_PREFIX = "folder:"
FOLDER = rf"^{FOLDER_PREFIX}[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""A folder under the data root, by its name: never a path."""


def schema(properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON Schema of an object that has these properties and no others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def count(default: int | None, *, most: int, description: str = "") -> dict[str, Any]:
    """Return the schema of a number from 1 on."""
    described = {"description": description} if description else {}
    kind: str | list[str] = "integer" if default is not None else ["integer", "null"]
    return {**described, "type": kind, "minimum": 1, "maximum": most, "default": default}


def name_or(pattern: str | None, names: Sequence[str]) -> dict[str, Any]:
    """Return the schema of one of the names, or of a name that matches the pattern."""
    listed = {"enum": sorted(names)}
    # Not `anyOf`: with `if`, an error message lists the names, as for a plain `enum`.
    return listed if pattern is None else {"if": {"pattern": pattern}, "then": {}, "else": listed}


def with_defaults(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings, and the defaults of all others."""
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    defaults = {name: p["default"] for name, p in properties.items() if "default" in p}
    return {**defaults, **given}


TRAIN_SAMPLES = count(
    None, most=10**9, description="train on the first so many samples of a fixed random order"
)
