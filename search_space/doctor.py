"""One result of `actsearch doctor`, in the form that the service and the workers share."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The result of one check.

    Attributes:
        detail: What was found.
        mend: How to fix it; empty if nothing needs to be fixed. `doctor --json` has this name.
    """

    name: str
    health: Health
    detail: str
    mend: str = ""

    def as_data(self) -> dict[str, str]:
        """Return the result as plain JSON data."""
        return asdict(self)


def read_health_check(data: Mapping[str, Any]) -> HealthCheck:
    """Read a result from plain JSON data."""
    return HealthCheck(data["name"], Health(data["health"]), data["detail"], data["mend"])
