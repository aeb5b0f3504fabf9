"""What the API is asked for beside the documents: changes, edits, candidates by hand."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from search_space.search_sections import (
    MAX_REALIGN_AFTER,
    Hours,
    MostFailures,
    MostTrials,
    Parallel,
    Positive,
    Priority,
)
from search_space.spec import ActivationSpec, Training


class Asked(BaseModel):
    """Base of what is asked: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class BudgetChanges(Asked):
    """Parts of a budget; null takes the limit of hours away."""

    trials: MostTrials = 40
    hours: Hours | None = None
    gpu_hours: Hours | None = None
    failures: MostFailures = 5


class Changes(Asked):
    """What may change while a search runs; what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"budget": {"trials": 80}, "parallel": 4}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=200)] = ""
    budget: BudgetChanges = BudgetChanges()
    parallel: Parallel = 2
    priority: Priority = 0

    @property
    def given(self) -> dict[str, Any]:
        """The columns of a search that shall change, with their new values."""
        budget = self.budget.model_dump(exclude_unset=True)
        columns = {"trials": "budget"}
        changed = {columns.get(key, f"budget_{key}"): value for key, value in budget.items()}
        return changed | self.model_dump(exclude_unset=True, exclude={"budget"})


class Edits(Asked):
    """Keys of a search that a fork shall have otherwise.

    `task`, `sites`, `objective`, `sampler`, `pruner`, `baselines`, `budget` and `confirm` are
    merged key by key with the earlier search's, unless the edit names another task; everything
    else takes the earlier value's place.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"sampler": {"seed": 1}, "budget": {"trials": 80}}]},
    )

    @property
    def given(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _by_name(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


SpecOrName = Annotated[
    ActivationSpec, BeforeValidator(_by_name, json_schema_input_type=str | ActivationSpec)
]


_USUAL = Training()


class TrainingByHand(Asked):
    """Factors of the recipe's own learning rates; the share of steps of a phase."""

    learning_rate_factor: Positive = _USUAL.learning_rate_factor
    activation_learning_rate_factor: Positive = _USUAL.activation_learning_rate_factor
    realign_after: Annotated[float, Field(gt=0, le=MAX_REALIGN_AFTER)] = _USUAL.realign_after


class CandidateByHand(Asked):
    """Activations by site: a name, or an object with its parameters.

    Sites that are left out keep the original's activation.
    """

    sites: Annotated[dict[str, SpecOrName], Field(max_length=10_000)] = {}
    training: TrainingByHand = TrainingByHand()


class TrialByHand(Asked):
    """A trial that a user asks for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"candidate": {"sites": {"block0.act": "silu"}, "training": {}}}]
        }
    )

    candidate: CandidateByHand
