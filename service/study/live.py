"""Live Optuna studies: a cache in memory of what the rows of a search say.

Trials and results enter a study in the order in which the rows of its search are committed. The
caller holds the lock of the search and commits before it releases it. An error in between
discards the study, and the next caller rebuilds it from the rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.search import SearchSpec
from search_space.space.space import Space
from service.study.attributes import SEED_BLOCK, block_attributes
from service.study.optuna_private import CONSTRAINT_PREFIX, set_params, set_values
from service.study.samplers import (
    estimates_of,
    initial_attributes,
    make_pruner,
    make_sampler,
    needed_attributes,
    reseed,
    set_block_of,
)
from service.study.seeds import seed_of

if TYPE_CHECKING:
    from service.study.additive import Estimates

STUDY_NAME = "search"
"""The same for all: Hyperband derives a trial's bracket from the name of its study, so another
name would make a rebuilt study decide otherwise."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of a trial as the study gets it.

    Attributes:
        values: One for each objective if the trial completed, else none.
        constraints: Every constraint of the search; a value above 0 means violated.
    """

    state: TrialState
    values: tuple[float, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial of the study as our rows have it.

    Attributes:
        attrs: The system attributes that Optuna gave it.
        reports: Steps and values.
        told: None if the trial has not ended for the study.
    """

    params: dict[str, Any]
    attrs: dict[str, Any]
    reports: Sequence[tuple[int, float]]
    told: TrialResult | None


class LiveStudy:
    """The study of one search. Not thread-safe: callers hold the lock of the search."""

    def __init__(
        self,
        search: SearchSpec,
        space: Space,
        pinned: Mapping[str, Any],
        attributes: Mapping[str, Any],
        stored_trials: Sequence[StoredTrial],
    ) -> None:
        self._seed = search.sampler.seed
        self._space = space
        self._sampler = make_sampler(pinned["sampler"], space)
        self._initial_attributes = initial_attributes(pinned["sampler"])
        # A storage of its own gives the study's system attributes and the ids of its trials,
        # which `optuna.Study` keeps to itself.
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=self._storage,
            directions=[objective.direction for objective in search.objectives],
            sampler=self._sampler,
            pruner=make_pruner(pinned["pruner"]),
        )
        self._id = self._storage.get_study_id_from_name(STUDY_NAME)
        for key, value in attributes.items():
            self._storage.set_study_system_attr(self._id, key, value)
        for number, trial in enumerate(stored_trials):
            self._restore(number, trial)

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def ask(self, seed_block: int | None = None) -> dict[str, Any]:
        """Propose parameters. Equal rows always give equal proposals.

        Args:
            seed_block: That of the training; None: it has a seed of its own.
        """
        # The seed depends on the number of the trial alone, so that a study that was rebuilt
        # in between proposes the same.
        number = len(self)
        reseed(self._sampler, seed_of(self._seed, "ask", number))
        set_block_of(self._sampler, number, seed_block)
        params = self._space.suggest(self._study.ask())
        if seed_block is not None:
            self._storage.set_trial_system_attr(self._trial_id(number), SEED_BLOCK, seed_block)
        return params

    def add(self, params: dict[str, Any], seed_block: int | None = None) -> None:
        """Add a trial with parameters that the sampler did not propose."""
        attrs = block_attributes(seed_block)
        self._restore(len(self), StoredTrial(params=params, attrs=attrs, reports=(), told=None))

    def estimates(self) -> "Estimates | None":
        """Return what the model of the sampler estimates, or None if it has no model."""
        return estimates_of(self._sampler, self._study)

    def report(self, number: int, step: int, value: float, *, may_stop: bool) -> bool:
        """Add a report; return whether the pruner would stop the trial, if it may be stopped."""
        trial = self._trial(number)
        trial.report(value, step)
        return may_stop and trial.should_prune()

    def tell(self, number: int, told: TrialResult) -> None:
        """End a trial with its result."""
        trial = self._trial(number)
        for name, value in told.constraints.items():
            trial.set_constraint(name, value)
        self._study.tell(number, list(told.values) or None, state=told.state)

    def revalue(self, number: int, values: Sequence[float]) -> None:
        """Replace the values of a completed trial by the means over a candidate's trainings."""
        set_values(self._study, number, values)

    def attrs(self, number: int) -> dict[str, Any]:
        """Return the system attributes of a trial, which a rebuild needs."""
        return dict(self._storage.get_trial_system_attrs(self._trial_id(number)))

    @property
    def attributes(self) -> dict[str, Any]:
        """The system attributes of the study, which a rebuild needs."""
        return needed_attributes(self._storage.get_study_system_attrs(self._id))

    @property
    def has_several_objectives(self) -> bool:
        """Whether there are several: Optuna accepts no reports then."""
        return len(self._study.directions) > 1

    def _restore(self, number: int, stored: StoredTrial) -> None:
        """Add the next trial, `number`, as the study had it."""
        self._study.add_trial(_without_params(stored, self._initial_attributes))
        set_params(self._study, number, stored.params, self._space.distributions(stored.params))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _trial(self, number: int) -> optuna.Trial:
        # `ask` alone returns a `Trial`, but a trial that was restored was never asked for.
        return optuna.Trial(self._study, self._trial_id(number))


class Studies:
    """The live studies of this process, each behind the lock of its search."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[str, RLock] = {}
        self._live: dict[str, LiveStudy] = {}

    @contextmanager
    def lock(self, search_id: str) -> Iterator["LockedStudy"]:
        """Lock the study of a search; an error inside discards the study if it was used."""
        with self._guard:
            lock = self._locks.setdefault(search_id, RLock())
        with lock:
            locked_study = LockedStudy(self, search_id)
            try:
                yield locked_study
            except BaseException:
                if locked_study.was_used:
                    self.discard(search_id)
                raise

    def discard(self, search_id: str) -> None:
        """Discard a study; the next caller rebuilds it."""
        self._live.pop(search_id, None)

    def remove(self, search_id: str) -> None:
        """Discard the study of a deleted search, and its lock."""
        self.discard(search_id)
        with self._guard:
            self._locks.pop(search_id, None)


class LockedStudy:
    """The study of a search while its lock is held."""

    def __init__(self, studies: Studies, search_id: str) -> None:
        self._studies = studies
        self._search_id = search_id
        self.was_used = False

    @property
    def live(self) -> LiveStudy | None:
        self.was_used = True
        return self._studies._live.get(self._search_id)

    def get(self, rebuild: Callable[[], LiveStudy]) -> LiveStudy:
        """Return the live study, rebuilt from the rows if there is none."""
        live = self.live
        if live is None:
            live = rebuild()
            self._studies._live[self._search_id] = live
        return live


def _without_params(stored: StoredTrial, attributes: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial as the study had it, apart from its parameters."""
    told = stored.told
    constraints = (
        {} if told is None else {CONSTRAINT_PREFIX + k: v for k, v in told.constraints.items()}
    )
    values: list[float] | None = None
    if told is not None and told.state is TrialState.COMPLETE:
        values = list(told.values)
    elif told is not None and told.state is TrialState.PRUNED and stored.reports:
        # `tell` gives a pruned trial the value of its last report.
        values = [stored.reports[-1][1]]
    return create_trial(
        state=TrialState.RUNNING if told is None else told.state,
        values=values,
        intermediate_values=dict(stored.reports),
        system_attrs={**attributes, **constraints, **stored.attrs},
    )
