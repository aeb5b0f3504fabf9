"""Live Optuna studies: a function over our rows, held in memory, thrown away at any doubt.

A study is fed in the order in which its search's rows are committed. Whoever feeds it holds the
search's lock and commits before letting go; an error in between drops the study, and the next
user rebuilds it from the rows.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.search import SearchSpec
from search_space.space.space import Space
from service.study.samplers import first_attributes, lasting, make_pruner, make_sampler, reseed

STUDY_NAME = "search"
"""Optuna derives decisions from a study's name, so it is the same for all."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What the study is told at a trial's end.

    Attributes:
        values: One for each objective, of a completed trial.
        constraints: Every constraint of the search, violated above 0.
    """

    state: TrialState
    values: tuple[float, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """What our rows remember of a trial of the study."""

    params: dict[str, Any]
    attrs: dict[str, Any]
    reports: Sequence[tuple[int, float]]
    told: TrialResult | None


class LiveStudy:
    """One search's study. Not thread-safe: its users hold the search's lock."""

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
        self._first_attributes = first_attributes(pinned["sampler"])
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            directions=[objective.direction for objective in search.objectives],
            sampler=self._sampler,
            pruner=make_pruner(pinned["pruner"]),
        )
        for key, value in attributes.items():
            self._study._storage.set_study_system_attr(self._study._study_id, key, value)
        for memory in stored_trials:
            self._enter(memory)

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def ask(self) -> dict[str, Any]:
        """Propose parameters. The same rows always give the same proposal."""
        reseed(self._sampler, seed_of(self._seed, "ask", len(self)))
        return self._space.suggest(self._study.ask())

    def add(self, params: dict[str, Any]) -> None:
        """Enter a trial with parameters that the sampler did not propose."""
        self._enter(StoredTrial(params=params, attrs={}, reports=(), told=None))

    def report(self, number: int, step: int, value: float, *, may_stop: bool) -> bool:
        """Enter a report; return whether the pruner, if it is asked, would stop the trial."""
        trial = self._trial(number)
        trial.report(value, step)
        return may_stop and trial.should_prune()

    def tell(self, number: int, told: TrialResult) -> None:
        """Enter a trial's end."""
        trial = self._trial(number)
        for name, value in told.constraints.items():
            trial.set_constraint(name, value)
        self._study.tell(number, list(told.values) or None, state=told.state)

    def revalue(self, number: int, values: Sequence[float]) -> None:
        """Give a completed trial other values: the means over a candidate's trainings.

        Optuna has no call for that, but hands out its own trials where no copy is asked for.
        """
        self._frozen(number).values = list(values)

    def attrs(self, number: int) -> dict[str, Any]:
        """Return the study's own notes on a trial, which a rebuild needs."""
        return dict(self._frozen(number).system_attrs)

    @property
    def attributes(self) -> dict[str, Any]:
        """The study's own notes on itself, which a rebuild needs."""
        return lasting(self._study._storage.get_study_system_attrs(self._study._study_id))

    @property
    def has_several_objectives(self) -> bool:
        """Whether Optuna keeps no curves: it has none for several objectives."""
        return len(self._study.directions) > 1

    def _enter(self, memory: StoredTrial) -> None:
        """Enter a trial as the study held it.

        Optuna copies and checks what it is given, for thousands of trials over many seconds. So
        it is given a trial without parameters, and its own copy then gets ours.
        """
        self._study.add_trial(_frozen(memory, self._first_attributes))
        entered = self._frozen(-1)
        entered.params = memory.params
        entered.distributions = self._space.distributions(memory.params)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen(number)._trial_id)


class Studies:
    """The live studies of this process, each behind its search's lock."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[str, RLock] = {}
        self._live: dict[str, LiveStudy] = {}

    @contextmanager
    def hold(self, search_id: str) -> Iterator["LockedStudy"]:
        """Lock a search's study; an error inside drops the study, where it was used."""
        with self._guard:
            lock = self._locks.setdefault(search_id, RLock())
        with lock:
            locked_study = LockedStudy(self, search_id)
            try:
                yield locked_study
            except BaseException:
                if locked_study.was_used:
                    self.drop(search_id)
                raise

    def drop(self, search_id: str) -> None:
        """Forget a study; the next user rebuilds it."""
        self._live.pop(search_id, None)

    def forget(self, search_id: str) -> None:
        """Forget a search that is no more, with its lock."""
        self.drop(search_id)
        with self._guard:
            self._locks.pop(search_id, None)


class LockedStudy:
    """A search's study while its lock is held."""

    def __init__(self, studies: Studies, search_id: str) -> None:
        self._studies = studies
        self._search_id = search_id
        self.was_used = False

    @property
    def live(self) -> LiveStudy | None:
        self.was_used = True
        return self._studies._live.get(self._search_id)

    def get(self, rebuild: Callable[[], LiveStudy]) -> LiveStudy:
        """Return the live study, rebuilt from the rows where there is none."""
        live = self.live
        if live is None:
            live = rebuild()
            self._studies._live[self._search_id] = live
        return live


def seed_of(search_seed: int, purpose: str, number: int) -> int:
    """Derive a seed of 31 bits from the search's."""
    digest = hashlib.sha256(f"{search_seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _frozen(memory: StoredTrial, attributes: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial as the study held it, without its parameters."""
    told = memory.told
    constraints = (
        {} if told is None else {f"constraints:{k}": v for k, v in told.constraints.items()}
    )
    values: list[float] | None = None
    if told is not None and told.state is TrialState.COMPLETE:
        values = list(told.values)
    elif told is not None and told.state is TrialState.PRUNED and memory.reports:
        values = [memory.reports[-1][1]]
    return create_trial(
        state=TrialState.RUNNING if told is None else told.state,
        values=values,
        intermediate_values=dict(memory.reports),
        system_attrs={**attributes, **constraints, **memory.attrs},
    )
