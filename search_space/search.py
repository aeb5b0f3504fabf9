"""The search document: what a user submits. Every default is visible in it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from search_space.catalog.lookup import CATALOG
from search_space.choices import Choice, ChoicesField
from search_space.search_sections import (
    HYPERPARAMETERS,
    MAX_REALIGN_AFTER,
    Baselines,
    Budget,
    Confirm,
    Constraints,
    Document,
    Hyperparameter,
    Measure,
    Objective,
    Objectives,
    Parallel,
    Positive,
    Priority,
    Pruner,
    Range,
    Replicates,
    Sampler,
    Sites,
    Start,
    Task,
    WarmStart,
)


class SearchSpec(Document):
    """A search, whole: task, sites, choices, objective and budget."""

    # What it is called on the wire, where there is one kind of search.
    model_config = ConfigDict(title="Search")

    version: Literal[1] = 1
    name: Annotated[str, Field(max_length=200)] = ""
    task: Task
    sites: Sites = Sites()
    choices: ChoicesField = Field(
        default_factory=lambda: [Choice(e.name) for e in CATALOG.values() if e.standard]
    )
    initial: Literal["original", "paper"] = "original"
    start: Start = "scratch"
    hyperparameters: dict[str, Hyperparameter] = Field(default={})
    objective: Objectives = Objective()
    constraints: Constraints = Constraints()
    measure: Measure = Measure()
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    replicates: Replicates = Replicates()
    warm_start: WarmStart | None = None
    baselines: Baselines = Baselines()
    budget: Budget = Budget()
    timeout: Positive | None = None
    stall: Positive = 300
    parallel: Parallel = 2
    confirm: Confirm | None = Confirm()
    priority: Priority = 0

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

    @model_validator(mode="after")
    def _a_grid_has_points(self) -> "SearchSpec":
        ranges = [
            name for name, values in self.hyperparameters.items() if isinstance(values, Range)
        ]
        if self.sampler.name == "grid" and ranges:
            raise ValueError(f"sampler grid needs lists of values, and {ranges[0]} is a range")
        return self

    @model_validator(mode="before")
    @classmethod
    def _several_objectives_have_their_own_defaults(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("objective"), list):
            return {
                "pruner": {"name": "none"},
                "replicates": {"share": 0},
                "confirm": None,
                **data,
                "sampler": _for_several_objectives(data.get("sampler")),
            }
        return data

    @field_validator("objective")
    @classmethod
    def _objectives_can_be_searched(cls, given: Objective | list[Objective]) -> Any:
        if isinstance(given, Objective):
            given = [given]
        metrics = [one.metric for one in given]
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"each metric is one objective, got {', '.join(metrics)}")
        if given[0].is_ratio:
            raise ValueError(f"the first objective is a reported metric, got {metrics[0]}")
        return given[0] if len(given) == 1 else given

    @field_validator("sampler")
    @classmethod
    def _a_model_has_one_objective(cls, sampler: Sampler, info: ValidationInfo) -> Sampler:
        if isinstance(info.data.get("objective"), list) and sampler.is_model:
            raise ValueError(f"several objectives have sampler tpe or nsga2, got {sampler.name}")
        return sampler

    @field_validator("pruner")
    @classmethod
    def _a_pruner_compares_one_value(cls, pruner: Pruner, info: ValidationInfo) -> Pruner:
        if isinstance(info.data.get("objective"), list) and pruner.name != "none":
            raise ValueError(f"several objectives have pruner none, got {pruner.name}")
        return pruner

    @field_validator("replicates")
    @classmethod
    def _a_front_has_no_leaders(cls, replicates: Replicates, info: ValidationInfo) -> Replicates:
        if isinstance(info.data.get("objective"), list) and replicates.share > 0:
            raise ValueError("several objectives have a front and no leaders: share must be 0")
        return replicates

    @field_validator("confirm")
    @classmethod
    def _a_front_has_no_winner(
        cls, confirm: Confirm | None, info: ValidationInfo
    ) -> Confirm | None:
        if isinstance(info.data.get("objective"), list) and confirm is not None:
            raise ValueError(
                "several objectives have a front and no single winner to confirm: must be null"
            )
        return confirm

    @property
    def objectives(self) -> Sequence[Objective]:
        """All objectives. The first is the one that curves, luck and pruners speak of."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def offered(self) -> Sequence[Choice]:
        """Every choice of the document, those of single patterns after the general ones."""
        return [*self.choices, *(one for some in self.sites.choices.values() for one in some)]

    @property
    def metric(self) -> str:
        """The metric of the first objective."""
        return self.objectives[0].metric


def _for_several_objectives(sampler: Any) -> Any:
    """Return a given sampler, by default TPE: the default of one objective has a model of one."""
    if sampler is None:
        return {"name": "tpe"}
    return {"name": "tpe", **sampler} if isinstance(sampler, Mapping) else sampler


def objectives_in(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objectives of a stored search document."""
    objective = document["objective"]
    return objective if isinstance(objective, list) else [objective]


def metric_in(document: Mapping[str, Any]) -> str:
    """Return the metric of the first objective of a stored search document."""
    return str(objectives_in(document)[0]["metric"])


def weights_in(document: Mapping[str, Any]) -> str | None:
    """Return the digest of the weights that a stored search tunes; None: it trains from scratch."""
    start = document.get("start")
    return str(start["weights"]) if isinstance(start, Mapping) else None


def _highest(values: Hyperparameter) -> float:
    return values.high if isinstance(values, Range) else max(values)
