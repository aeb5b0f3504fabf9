"""Live Optuna studies: a function over our rows, held in memory, thrown away at any doubt.

A study is fed in the order in which its search's rows are committed. Whoever feeds it holds the
search's lock and commits before letting go; an error in between drops the study, and the next
user rebuilds it from the rows.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, RLock
from typing import Any, Protocol

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.sample import Space
from search_space.search import MAX_REALIGN_AFTER, Search

STUDY_NAME = "search"
"""Optuna derives decisions from a study's name, so it is the same for all."""

INFEASIBLE = "infeasible"
"""The constraint that a candidate which cannot be trained violates; set in every trial."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the study is told at a trial's end. `value` is None where there is none."""

    state: TrialState
    value: float | None = None
    infeasible: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What our rows remember of a trial of the study."""

    params: dict[str, Any]
    attrs: dict[str, Any]
    reports: Sequence[tuple[int, float]]
    told: Told | None


class Remember(Protocol):
    """Reads the memories of one search, in the order of their numbers in the study."""

    def __call__(self) -> Sequence[Memory]: ...


def pinned_arguments(search: Search, *, has_phases: bool, epochs: int | None) -> dict[str, Any]:
    """Return every argument of the sampler and the pruner of a search, and what they rest on."""
    return {
        "epochs": epochs,
        "sampler": {"name": search.sampler.name, **_sampler_arguments(search)},
        "pruner": {
            "name": search.pruner.name,
            **_pruner_arguments(search, first_rung(has_phases=has_phases, epochs=epochs), epochs),
        },
    }


def first_rung(*, has_phases: bool, epochs: int | None) -> int:
    """Return the first epoch after which a trial may be stopped.

    It lies after the longest phase of any offered choice, for all trials alike: until then a
    phased activation has not trained, and would be judged for what it is not.
    """
    if not has_phases or epochs is None:
        return 1
    return int(MAX_REALIGN_AFTER * epochs) + 1


class LiveStudy:
    """One search's study. Not thread-safe: its users hold the search's lock."""

    def __init__(
        self, search: Search, space: Space, pinned: dict[str, Any], memories: Sequence[Memory]
    ) -> None:
        self._seed = search.sampler.seed
        self._space = space
        self._sampler = _make_sampler(pinned["sampler"])
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            direction=search.objective.direction,
            sampler=self._sampler,
            pruner=_make_pruner(pinned["pruner"]),
        )
        for memory in memories:
            self._study.add_trial(_frozen(memory, space))

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def ask(self) -> dict[str, Any]:
        """Propose parameters. The same rows always give the same proposal."""
        _reseed(self._sampler, seed_of(self._seed, "ask", len(self)))
        return self._space.suggest(self._study.ask())

    def add(self, params: dict[str, Any]) -> None:
        """Enter a trial with parameters that the sampler did not propose."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions=self._space.distributions(params),
            )
        )

    def report(self, number: int, step: int, value: float, *, may_stop: bool) -> bool:
        """Enter a report; return whether the pruner, if it is asked, would stop the trial."""
        trial = self._trial(number)
        trial.report(value, step)
        return may_stop and trial.should_prune()

    def tell(self, number: int, told: Told) -> None:
        """Enter a trial's end."""
        trial = self._trial(number)
        trial.set_constraint(INFEASIBLE, float(told.infeasible))
        value = told.value if told.state is TrialState.COMPLETE else None
        self._study.tell(number, value, state=told.state)

    def attrs(self, number: int) -> dict[str, Any]:
        """Return the study's own notes on a trial, which a rebuild needs."""
        return dict(self._frozen(number).system_attrs)

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
    def hold(self, search_id: str) -> Iterator["Held"]:
        """Lock a search's study; an error inside drops the study."""
        with self._guard:
            lock = self._locks.setdefault(search_id, RLock())
        with lock:
            try:
                yield Held(self, search_id)
            except BaseException:
                self.drop(search_id)
                raise

    def drop(self, search_id: str) -> None:
        """Forget a study; the next user rebuilds it."""
        self._live.pop(search_id, None)


class Held:
    """A search's study while its lock is held."""

    def __init__(self, studies: Studies, search_id: str) -> None:
        self._studies = studies
        self._search_id = search_id

    @property
    def live(self) -> LiveStudy | None:
        return self._studies._live.get(self._search_id)

    def get(
        self, search: Search, space: Space, pinned: dict[str, Any], remember: Remember
    ) -> LiveStudy:
        """Return the live study, rebuilt from the rows where there is none."""
        live = self.live
        if live is None:
            live = LiveStudy(search, space, pinned, remember())
            self._studies._live[self._search_id] = live
        return live


def seed_of(search_seed: int, purpose: str, number: int) -> int:
    """Derive a seed of 31 bits from the search's."""
    digest = hashlib.sha256(f"{search_seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _sampler_arguments(search: Search) -> dict[str, Any]:
    if search.sampler.name in ("random", "grid"):
        return {"seed": search.sampler.seed}
    return {
        "seed": search.sampler.seed,
        "n_startup_trials": 10,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": False,
        "constant_liar": True,
    }


def _pruner_arguments(search: Search, first: int, epochs: int | None) -> dict[str, Any]:
    if search.pruner.name == "median":
        return {
            "n_startup_trials": 5,
            "n_warmup_steps": first,
            "interval_steps": 1,
            "n_min_trials": 1,
        }
    if search.pruner.name == "asha":
        return {
            "min_resource": first,
            "reduction_factor": 3,
            "min_early_stopping_rate": 0,
            "bootstrap_count": 0,
        }
    if search.pruner.name == "hyperband":
        longest = "auto" if epochs is None else max(epochs, first)
        return {"min_resource": first, "max_resource": longest, "reduction_factor": 3}
    return {}


def _make_sampler(pinned: dict[str, Any]) -> BaseSampler:
    arguments = {key: value for key, value in pinned.items() if key != "name"}
    # The grid is enumerated by ourselves; what the study has for a sampler is never asked.
    samplers: dict[str, type[BaseSampler]] = {
        "tpe": TPESampler,
        "random": RandomSampler,
        "grid": RandomSampler,
    }
    return samplers[pinned["name"]](**arguments)


def _make_pruner(pinned: dict[str, Any]) -> BasePruner:
    arguments = {key: value for key, value in pinned.items() if key != "name"}
    pruners: dict[str, type[BasePruner]] = {
        "none": NopPruner,
        "median": MedianPruner,
        "asha": SuccessiveHalvingPruner,
        "hyperband": HyperbandPruner,
    }
    return pruners[pinned["name"]](**arguments)


def _reseed(sampler: BaseSampler, seed: int) -> None:
    # Optuna can only reseed from the system's randomness; a new sampler for every ask would
    # cost twice the time, since it would forget the search space that it has worked out.
    sampler._rng.rng.seed(seed)  # type: ignore[attr-defined]
    if isinstance(sampler, TPESampler):
        sampler._random_sampler._rng.rng.seed(seed)


def _frozen(memory: Memory, space: Space) -> FrozenTrial:
    told = memory.told
    value = None
    if told is not None and told.state is TrialState.COMPLETE:
        value = told.value
    elif told is not None and told.state is TrialState.PRUNED and memory.reports:
        value = memory.reports[-1][1]
    return create_trial(
        state=TrialState.RUNNING if told is None else told.state,
        value=value,
        params=memory.params,
        distributions=space.distributions(memory.params),
        intermediate_values=dict(memory.reports),
        system_attrs=memory.attrs,
    )
