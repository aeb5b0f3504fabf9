"""What comes of a training."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a training; accuracies are fractions.

    Attributes:
        validation: After each epoch, as far as it came.
        test: None where the training diverged.
        step_seconds: Of the fastest epoch.
    """

    validation: list[float]
    test: float | None
    parameters: int
    step_seconds: float | None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)
