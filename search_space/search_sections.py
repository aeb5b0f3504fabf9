"""The sections of a search document: task, sites, objective, sampler, budget and the others."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from search_space.choices import OneOrMore

Encoding = Literal["conditional", "flat"]
DEFAULT_ENCODING: Encoding = "conditional"

DEFAULT_REPLICATES = 0.1
"""Share of the trials that repeat leaders."""

RATIOS = ("latency_ratio", "parameter_ratio", "memory_ratio")
"""What is measured of a candidate before it is trained, over the original on the same device."""

ONE, SEVERAL, SCRATCH, GIVEN = BRANCHES = ("(one)", "(several)", "(scratch)", "(given)")
"""Names of alternatives, which stand in the paths of pydantic's errors; no user writes them."""

MAX_REALIGN_AFTER = 0.2
"""A phased activation may spend at most this share of training on statistics."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Document(BaseModel):
    """Base of the stored documents: immutable, and strict about unknown keys."""

    # Strict: true is no number, and "5" is none either.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Task(Document):
    """Which network is trained on which data: a name that workers offer, and its settings."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Sites(Document):
    """Which sites are searched, and which share one choice. Patterns are shell-style globs.

    Attributes:
        choices: By pattern, what is offered at those sites in place of the search's own
            choices: a list, or a single choice, which fixes them if it leaves nothing open.
    """

    per: Literal["network", "stage", "block", "layer", "auto"] = "auto"
    include: str | list[str] = "*"
    exclude: list[str] = []
    choices: dict[str, OneOrMore] = {}

    @property
    def included(self) -> list[str]:
        return [self.include] if isinstance(self.include, str) else self.include


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
    """A number that is to be large or small: a reported metric, or one of `RATIOS`."""

    metric: Annotated[str, Field(min_length=1)] = "validation_accuracy"
    direction: Literal["maximize", "minimize"] = "maximize"
    reduce: Literal["last"] = "last"

    @model_validator(mode="after")
    def _a_ratio_is_to_be_small(self) -> "Objective":
        if self.is_ratio and self.direction != "minimize":
            raise ValueError(f"{self.metric} is to minimize, got direction {self.direction!r}")
        return self

    @property
    def is_ratio(self) -> bool:
        """Whether it is measured before the first epoch, not reported."""
        return self.metric in RATIOS


def _one_or_several(given: Any) -> str:
    return ONE if isinstance(given, Mapping | Objective) else SEVERAL


Objectives = Annotated[
    Annotated[Objective, Tag(ONE)]
    | Annotated[list[Objective], Field(min_length=1, max_length=4), Tag(SEVERAL)],
    Discriminator(_one_or_several),
]


class Constraints(Document):
    """Upper limits of what a candidate may cost, over the original on the same device.

    A candidate is infeasible when the whole interval of its ratio lies over the limit.
    """

    latency_ratio: Positive | None = None
    parameter_ratio: Positive | None = None
    memory_ratio: Positive | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of their ratio."""
        limits = {ratio: getattr(self, ratio) for ratio in RATIOS}
        return {ratio: limit for ratio, limit in limits.items() if limit is not None}


class Sampler(Document):
    """Who proposes.

    Attributes:
        name: `additive` learns what each choice does at each site, from all trainings; `auto`
            lets it and TPE propose in shares that follow how well each predicts.
        encoding: How a choice with parameters is put to it: `conditional`, each parameter on its
            own where its activation was chosen, or `flat`, one variant such as `pwlu-8`.
        seed_blocks: Trainings share their seeds in so many blocks, in turn, and differences are
            taken within a block; 0: each training has its own seed. None: 2 with `additive` and
            `auto`, which need blocks, 0 with the others.
    """

    name: Literal["auto", "additive", "tpe", "random", "qmc", "grid", "nsga2"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    encoding: Encoding = DEFAULT_ENCODING
    seed_blocks: Annotated[int, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _a_model_needs_blocks(self) -> "Sampler":
        if self.is_model and self.seed_blocks == 0:
            raise ValueError(f"sampler {self.name} needs seed blocks: at least 1, got 0")
        if not self.is_model and self.seed_blocks:
            raise ValueError(f"sampler {self.name} has no seed blocks, got {self.seed_blocks}")
        return self

    @property
    def is_model(self) -> bool:
        """Whether it estimates candidates by a model of all trainings."""
        return self.name in ("additive", "auto")

    @property
    def blocks(self) -> int:
        """The number of seed blocks; 0: each training has its own seed."""
        return 2 if self.seed_blocks is None and self.is_model else self.seed_blocks or 0


class Pruner(Document):
    """Who stops trials early.

    Attributes:
        run_on: Share of the stopped trials that run on to their end, so that it is known how
            often stopping is wrong. The sampler takes them for stopped all the same.
    """

    name: Literal["none", "median", "asha", "hyperband"] = "asha"
    run_on: Annotated[float, Field(ge=0, le=1)] = 0.05


class Replicates(Document):
    """Leaders trained again on new seeds, so that the search does not follow luck.

    Attributes:
        share: Of the budget's trials, at most.
        leaders: So many of the best candidates are eligible.
        seeds: On so many seeds, the first included.
    """

    share: Annotated[float, Field(ge=0, le=0.2)] = DEFAULT_REPLICATES
    leaders: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[int, Field(ge=2, le=100)] = 3


class Baselines(Document):
    original_seeds: Annotated[int, Field(ge=0, le=100)] = 3
    uniform: bool = True


class Confirm(Document):
    """How the winner is trained anew before it is called best.

    Attributes:
        shortlist: So many of the best candidates are trained once more, to choose the winner.
        seeds: Fresh seeds on which the winner and what it is compared with are trained.
        epochs: Length of these trainings; None: that of the task.
        spread: Where `epochs` is another length than the search's, so many candidates from the
            best to the worst are trained at it too, to see whether both rank alike.
    """

    shortlist: Annotated[int, Field(ge=1, le=100)] = 3
    seeds: Annotated[int, Field(ge=2, le=1000)] = 8
    epochs: Annotated[int, Field(ge=1)] | None = None
    spread: Annotated[int, Field(ge=0, le=100)] = 5


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


MostTrials = Annotated[int, Field(ge=1, le=1_000_000)]
Hours = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
MostFailures = Annotated[int, Field(ge=1, le=1_000_000)]
Parallel = Annotated[int, Field(ge=1, le=10_000)]
Priority = Annotated[int, Field(ge=-1000, le=1000)]


class WarmStart(Document):
    """An earlier search of the same task and objective, with whose results this one begins."""

    search: Annotated[str, Field(min_length=1, max_length=200)]


class Weights(Document):
    """Trained weights of the network as it came, from which every trial is tuned.

    Attributes:
        weights: The sha256 of a stored safetensors file: one of a trial, or one's own upload.
    """

    weights: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _scratch_or_given(value: Any) -> str:
    return GIVEN if isinstance(value, Mapping | Weights) else SCRATCH


Start = Annotated[
    Annotated[Literal["scratch"], Tag(SCRATCH)] | Annotated[Weights, Tag(GIVEN)],
    Discriminator(_scratch_or_given),
]


class Budget(Document):
    """How much a search may spend; whatever is spent first ends it.

    Attributes:
        trials: Proposed candidates, those that cannot be trained among them.
        hours: Time in which the search runs, pauses apart.
        gpu_hours: Time of its attempts, by the share of GPUs that each has.
        failures: So many faults of the user's in a row pause the search.
    """

    trials: MostTrials = 40
    hours: Hours | None = None
    gpu_hours: Hours | None = None
    failures: MostFailures = 5
