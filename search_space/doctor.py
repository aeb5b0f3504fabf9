"""What `actsearch doctor` has found: the service's part and the workers' part say it alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        detail: What was found.
        mend: What to do about it; empty where nothing need be done.
    """

    name: str
    health: Health
    detail: str
    mend: str = ""

    def as_data(self) -> dict[str, str]:
        return asdict(self)


def read_finding(data: Mapping[str, Any]) -> Finding:
    """Return a finding from its data."""
    return Finding(data["name"], Health(data["health"]), data["detail"], data["mend"])
