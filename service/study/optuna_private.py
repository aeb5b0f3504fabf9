"""Everything that we take from Optuna beside its public API, in one file.

Checked with Optuna 5.0. `tests/service/test_optuna_private.py` compares each function with what
the public API shows, so that a version of Optuna that changes one of them fails there by name.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.study._multi_objective import _fast_non_domination_rank
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import MetaData, create_engine, insert, select

CONSTRAINT_PREFIX = "constraints:"
"""Optuna keeps a trial's constraints among its system attributes. `create_trial` takes
constraints, but warns where the attributes that we stored have them already."""

GENERATION = "NSGAIISampler:generation"
PARENTS_PREFIX = "NSGAIISampler:parent:"
"""NSGA-II keeps a trial's generation among the attributes of the trial, and the parents of each
generation among those of the study. No call sets or removes them."""

_INSERT_BATCH = 2000


def seed_generators(sampler: BaseSampler, seed: int) -> None:
    """Seed every random generator of a TPE, NSGA-II or random sampler.

    The public `reseed_rng` takes its seed from the operating system. To construct a new sampler
    for each ask would take twice the time: it loses the search space that it has worked out.
    """
    assert isinstance(sampler, TPESampler | NSGAIISampler | RandomSampler)
    sampler._rng.rng.seed(seed)
    if not isinstance(sampler, RandomSampler):
        sampler._random_sampler._rng.rng.seed(seed)


def non_domination_ranks(losses: "np.ndarray[Any, Any]", *, best: int | None) -> list[int]:
    """Return the Pareto front of each row, 0 first; exact for the `best` rows, or for all.

    The public API gives the first front alone, and of the trials of a study only.
    """
    return [int(rank) for rank in _fast_non_domination_rank(losses, n_below=best)]


def all_trials(study: Study, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
    """Return the trials that a sampler works with, without copies; to be read only.

    Not `study.get_trials`: the study that Hyperband hands to a sampler answers that with the
    trials of one bracket, while Optuna's own samplers see all of them, by this call.
    """
    return list(study._get_trials(deepcopy=False, states=states))


def set_trial_attribute(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    """Set a system attribute of a trial that is being asked for.

    A sampler gets a frozen trial, without a setter; Optuna's own samplers do the same.
    """
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


def trial_attributes(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return the system attributes of a trial as they are now.

    The frozen trial that a sampler gets is a copy from before it was asked.
    """
    return dict(study._storage.get_trial_system_attrs(trial._trial_id))


class StudyView(Study):
    """A study of which a sampler sees only some trials. Made for one ask, and only read.

    Optuna has no public way to restrict what a sampler sees: samplers read the trials by
    `_get_trials`, of the study that they are given.
    """

    def __init__(self, study: Study, visible: Sequence[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._visible = visible

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002
    ) -> list[FrozenTrial]:
        assert not deepcopy, "samplers read trials without a copy"
        return [trial for trial in self._visible if states is None or trial.state in states]


def set_values(study: Study, number: int, values: Sequence[float]) -> None:
    """Replace the values of a completed trial of a study in memory.

    `tell` refuses a trial that has ended, and no other call changes values.
    """
    _own_trial(study, number).values = list(values)


def set_params(
    study: Study, number: int, params: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> None:
    """Replace the parameters of a trial of a study in memory, with their distributions.

    `add_trial` copies and checks every distribution, which takes seconds for thousands of trials.
    And Optuna compares the distributions of trials again and again: the same object is equal at
    once, a copy only after all of its choices were compared.
    """
    trial = _own_trial(study, number)
    trial.params = params
    trial.distributions = distributions


def insert_trials(url: str, study_name: str, trials: Iterable[FrozenTrial]) -> None:
    """Insert trials into a study of an `RDBStorage` that has none.

    `add_trial` runs about a hundred statements for each trial: minutes for thousands.
    """
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            schema = MetaData()
            schema.reflect(connection, only=["studies", *_TABLES])
            studies = schema.tables["studies"].c
            of_name = select(studies.study_id).where(studies.study_name == study_name)
            study_id = connection.execute(of_name).scalar_one()
            for name, rows in _rows(study_id, trials).items():
                for start in range(0, len(rows), _INSERT_BATCH):
                    batch = rows[start : start + _INSERT_BATCH]
                    connection.execute(insert(schema.tables[name]), batch)
    finally:
        engine.dispose()


def _own_trial(study: Study, number: int) -> FrozenTrial:
    # An `InMemoryStorage` hands out its own objects where no copy is asked for. The documentation
    # asks callers not to change them: each function that does says why.
    return study.get_trials(deepcopy=False)[number]


# In an order that foreign keys allow.
_TABLES = (
    "trials",
    "trial_values",
    "trial_params",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
)


def _rows(study_id: int, trials: Iterable[FrozenTrial]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table of `_TABLES`, in that order."""
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES}
    for number, trial in enumerate(trials):
        key = {"trial_id": number + 1}
        rows["trials"].append(
            {
                **key,
                "number": number,
                "study_id": study_id,
                "state": trial.state.name,
                "datetime_start": _utc(trial.datetime_start),
                "datetime_complete": _utc(trial.datetime_complete),
            }
        )
        rows["trial_values"] += [
            {**key, "objective": objective, "value": value, "value_type": "FINITE"}
            for objective, value in enumerate(trial.values or ())
        ]
        rows["trial_params"] += [{**key, **param} for param in _params(trial)]
        rows["trial_intermediate_values"] += [
            {
                **key,
                "step": step,
                "intermediate_value": value,
                "intermediate_value_type": "FINITE",
            }
            for step, value in trial.intermediate_values.items()
        ]
        rows["trial_user_attributes"] += [{**key, **one} for one in _attributes(trial.user_attrs)]
        rows["trial_system_attributes"] += [
            {**key, **one} for one in _attributes(trial.system_attrs)
        ]
    return rows


def _params(trial: FrozenTrial) -> Iterator[Mapping[str, Any]]:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        yield {
            "param_name": name,
            "param_value": distribution.to_internal_repr(value),
            "distribution_json": distribution_to_json(distribution),
        }


def _attributes(attributes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key, value in attributes.items():
        yield {"key": key, "value_json": json.dumps(value)}


def _utc(moment: datetime | None) -> datetime | None:
    # Optuna's columns hold UTC without saying so.
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
