"""The search document: what a user submits. Every default is visible in it.

What the document language has but this version does not offer is refused here, by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from search_space.catalog import CATALOG, Entry, check, lookup
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec, Scalar, Share

MAX_REALIGN_AFTER = 0.2
"""A phased activation may spend at most this share of training on statistics."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Document(BaseModel):
    """Base of the stored documents: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Document):
    """Which network is trained on which data: a name that workers offer, and its settings."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=200)]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Sites(Document):
    """Which sites are searched, and which share one choice. Patterns are shell-style globs."""

    per: Literal["network", "stage", "block", "layer", "auto"] = "auto"
    include: str | list[str] = "*"
    exclude: list[str] = []

    @property
    def included(self) -> list[str]:
        return [self.include] if isinstance(self.include, str) else self.include


@dataclass(frozen=True, slots=True)
class Choice:
    """An activation with the values of its parameters; more than one value is searched."""

    name: str
    values: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    initials: tuple[str, ...] = ()

    @property
    def entry(self) -> Entry:
        return lookup(self.name)

    @property
    def has_phases(self) -> bool:
        """Whether some values of its parameters let it collect statistics."""
        entry = self.entry
        return entry.phases and (
            entry.unphased_by is None or None in self.values.get(entry.unphased_by, (None,))
        )


def _parse_choice(given: Any) -> Choice:
    """Read `relu` or `{name: pwlu, segments: [4, 8], share: layer}`, checked by the catalogue."""
    if isinstance(given, Choice):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ValueError(f"each choice is a name or an object with a name, got {given!r}")
    fields = {key: _as_values(given["name"], key, value) for key, value in given.items()}
    (name,) = fields.pop("name")
    share, initial = fields.pop("share", ()), fields.pop("initial", ())
    entry = lookup(name)
    for parameter, values in fields.items():
        for value in values:
            entry.parameter(parameter).check(name, value)
    _check_share(entry, share)
    for start in initial:
        check(ActivationSpec(name, initial=start))
    return Choice(name, fields, share, initial)


def _write_choice(choice: Choice) -> dict[str, Any]:
    """Return the object that `_parse_choice` reads back."""
    options = {"share": choice.shares, "initial": choice.initials, **choice.values}
    return {"name": choice.name} | {key: list(values) for key, values in options.items() if values}


def _check_share(entry: Entry, shares: tuple[Any, ...]) -> None:
    for share in shares:
        if share not in entry.shares:
            expected = f"one of {', '.join(entry.shares)}" if entry.shares else "left out"
            raise BadParameter(entry.name, "share", share, expected)


def _as_values(name: str, key: str, value: Any) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values:
        raise ValueError(f"{name}: {key} needs at least one value, got an empty list")
    kinds = (bool | int | float | str) if key in ("name", "share", "initial") else Scalar
    if not all(isinstance(one, kinds) for one in values):
        raise ValueError(f"{name}: {key} must be a value or a list of values, got {value!r}")
    if len(set(values)) < len(values):
        raise ValueError(f"{name}: {key} names a value twice: {value!r}")
    return values


ChoiceField = Annotated[
    Choice,
    BeforeValidator(_parse_choice),
    PlainSerializer(_write_choice),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(CATALOG)},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string", "enum": list(CATALOG)}},
                    "required": ["name"],
                },
            ]
        }
    ),
]


class Range(Document):
    """A range of a hyperparameter, both ends included."""

    low: Positive
    high: Positive
    log: bool = False

    @model_validator(mode="after")
    def _low_is_below_high(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self


Hyperparameter = list[Positive] | Range
HYPERPARAMETERS = ("learning_rate_factor", "activation_learning_rate_factor", "realign_after")


class Objective(Document):
    metric: Annotated[str, Field(min_length=1)] = "validation_accuracy"
    direction: Literal["maximize", "minimize"] = "maximize"
    reduce: Literal["last"] = "last"


class Sampler(Document):
    name: Literal["tpe", "random", "grid"] = "tpe"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("name", mode="before")
    @classmethod
    def _offered(cls, name: Any) -> Any:
        return _refuse(name, later=("qmc", "nsga2"), offered=("tpe", "random", "grid"))


class Pruner(Document):
    name: Literal["none", "median", "asha", "hyperband"] = "asha"


class Baselines(Document):
    original_seeds: Annotated[int, Field(ge=0, le=100)] = 3
    uniform: bool = True


class Confirm(Document):
    """How the winner is trained anew before it is called best.

    Attributes:
        shortlist: So many of the best candidates are trained once more, to choose the winner.
        seeds: Fresh seeds on which the winner and what it is compared with are trained.
        epochs: Length of these trainings; None: that of the task.
    """

    shortlist: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[int, Field(ge=2, le=1000)] = 8
    epochs: Annotated[int, Field(ge=1)] | None = None


class Measure(Document):
    """What is measured of every candidate before its first epoch, and in which form.

    Parameters and FLOPs always are, a latency or memory that a constraint or an objective
    names as well.

    Attributes:
        batch: Samples in a batch; None: as many as the task's example batch has.
        compiled: Latency is that of the networks compiled.
        folded: Batch normalisation is folded into the convolutions first.
    """

    latency: bool = False
    memory: bool = False
    batch: Annotated[int, Field(ge=1, le=65536)] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compiled: bool = False
    folded: bool = False


class Budget(Document):
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 40
    hours: None = None
    gpu_hours: None = None
    failures: Annotated[int, Field(ge=1)] = 5

    @field_validator("hours", "gpu_hours", mode="before")
    @classmethod
    def _not_offered(cls, value: Any) -> Any:
        return _only(None, value, "a budget of hours")


class Search(Document):
    """A search, whole: task, sites, choices, objective and budget."""

    version: Literal[1] = 1
    name: Annotated[str, Field(max_length=200)] = ""
    task: Task
    sites: Sites = Sites()
    choices: Annotated[list[ChoiceField], Field(min_length=1)] = Field(
        default_factory=lambda: [Choice(e.name) for e in CATALOG.values() if e.standard]
    )
    initial: Literal["original", "paper"] = "original"
    start: Literal["scratch"] = "scratch"
    hyperparameters: dict[str, Hyperparameter] = {}
    objective: Objective = Objective()
    constraints: dict[str, float] = {}
    measure: Measure = Measure()
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    baselines: Baselines = Baselines()
    budget: Budget = Budget()
    timeout: Positive | None = None
    stall: Positive = 300
    parallel: Annotated[int, Field(ge=1, le=10_000)] = 2
    confirm: Confirm | None = Confirm()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0

    @field_validator("choices")
    @classmethod
    def _each_choice_once(cls, choices: list[Choice]) -> list[Choice]:
        names = [choice.name for choice in choices]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{', '.join(twice)} is offered more than once; "
                "list the values of its parameters in one entry"
            )
        return choices

    @field_validator("hyperparameters")
    @classmethod
    def _hyperparameters_are_known(
        cls, given: dict[str, Hyperparameter]
    ) -> dict[str, Hyperparameter]:
        for name, values in given.items():
            if name not in HYPERPARAMETERS:
                raise ValueError(f"{name!r} is unknown; there are {', '.join(HYPERPARAMETERS)}")
            if not values:
                raise ValueError(f"{name} needs at least one value, got an empty list")
            if name == "realign_after" and _highest(values) > MAX_REALIGN_AFTER:
                raise ValueError(
                    f"realign_after must be at most {MAX_REALIGN_AFTER}, got {_highest(values)}"
                )
        return given

    @field_validator("start", mode="before")
    @classmethod
    def _start_is_offered(cls, value: Any) -> Any:
        return _only("scratch", value, "starting from weights")

    @field_validator("constraints", mode="before")
    @classmethod
    def _constraints_are_offered(cls, value: Any) -> Any:
        return _only({}, value, "constraints")

    @model_validator(mode="after")
    def _a_grid_has_points(self) -> "Search":
        ranges = [
            name for name, values in self.hyperparameters.items() if isinstance(values, Range)
        ]
        if self.sampler.name == "grid" and ranges:
            raise ValueError(f"sampler grid needs lists of values, and {ranges[0]} is a range")
        return self

    @field_validator("objective", mode="before")
    @classmethod
    def _one_objective(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError("several objectives are not offered yet; give one")
        return value


def _highest(values: Hyperparameter) -> float:
    return values.high if isinstance(values, Range) else max(values)


def _refuse(name: Any, *, later: tuple[str, ...], offered: tuple[str, ...]) -> Any:
    if name in later:
        raise ValueError(f"{name} is not offered yet; choose one of {', '.join(offered)}")
    return name


def _only(allowed: Any, value: Any, what: str) -> Any:
    if value != allowed:
        raise ValueError(f"{what} is not offered yet; must be {allowed!r}, got {value!r}")
    return value
