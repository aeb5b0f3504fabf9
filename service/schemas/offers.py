"""What the API answers about workers, their tasks, and the catalogue."""

from search_space.contract import TaskOffer
from service.schemas.base import Answer, Time


class WorkerAnswer(Answer):
    """A worker. It is alive when it gave a sign of life within two lease lengths; `resting` says
    why it takes no more work, once it does not.
    """

    id: str
    alive: bool
    slots: int
    devices: list[str]
    versions: dict[str, str]
    tasks: list[str]
    running: list[str]
    resting: str | None
    seen_at: Time


class TaskAnswer(TaskOffer):
    """A task that workers offer, with the JSON Schema of its settings."""


class ParameterAnswer(Answer):
    name: str
    default: bool | int | float | str | None
    low: float | None
    high: float | None
    meaning: str
    choices: list[str]
    nullable: bool


class ActivationAnswer(Answer):
    """An entry of the catalogue."""

    name: str
    formula: str
    parameters: list[ParameterAnswer]
    learned: bool
    phases: bool
    shares: list[str]
    initials: list[str]
    learned_parameters: dict[str, int]
    flops: int
    kept: int
    rank: int | None
    channels_first_only: bool
    pointwise: bool
    tied: str | None
    gate: bool
    standard: bool
    source: str
    year: int
    interpretation: str | None
