"""Optuna's samplers and pruners, as a search names them: every argument pinned."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import UniformCrossover
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_space.search import MAX_REALIGN_AFTER, SearchSpec
from search_space.space.space import Space
from service.study.window import MOST_SEEN, RULE, Windowed

GENERATION = "NSGAIISampler:generation"
PARENTS = "NSGAIISampler:parent:"


def pinned_arguments(search: SearchSpec, *, has_phases: bool, epochs: int | None) -> dict[str, Any]:
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


def make_sampler(pinned: Mapping[str, Any], space: Space) -> BaseSampler:
    """Return the sampler that `pinned_arguments` describes."""
    arguments = {key: value for key, value in pinned.items() if key not in _NOT_ITS_OWN}
    match pinned["name"]:
        case "tpe":
            return Windowed(_Tpe(space, **arguments))
        case "qmc":
            return _Qmc(space, **arguments)
        case "nsga2":
            crossover = UniformCrossover(arguments["swapping_prob"])
            return NSGAIISampler(**arguments | {"crossover": crossover})
        case _:
            # The grid is enumerated by ourselves; what the study has for a sampler is never asked.
            return RandomSampler(**arguments)


def make_pruner(pinned: Mapping[str, Any]) -> BasePruner:
    """Return the pruner that `pinned_arguments` describes."""
    arguments = {key: value for key, value in pinned.items() if key not in _NOT_ITS_OWN}
    pruners: dict[str, type[BasePruner]] = {
        "none": NopPruner,
        "median": MedianPruner,
        "asha": SuccessiveHalvingPruner,
        "hyperband": HyperbandPruner,
    }
    return pruners[pinned["name"]](**arguments)


def reseed(sampler: BaseSampler, seed: int) -> None:
    """Seed every generator of a sampler anew.

    Optuna can only reseed from the system's randomness; a new sampler for every ask would
    cost twice the time, since it would forget the search space that it has worked out.
    """
    match sampler:
        case Windowed():
            reseed(sampler.inner, seed)
        case TPESampler() | NSGAIISampler():
            sampler._rng.rng.seed(seed)
            sampler._random_sampler._rng.rng.seed(seed)
        case RandomSampler():
            sampler._rng.rng.seed(seed)
        case QMCSampler():
            pass  # Its sequence follows from the search's seed and the count of its points.


def first_attributes(pinned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a trial that the sampler did not propose.

    NSGA-II breeds only from trials of a generation; what was given is of the first.
    """
    return {GENERATION: 0} if pinned["name"] == "nsga2" else {}


def lasting(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those attributes of a study that its sampler may still ask for.

    NSGA-II looks at the parents of a trial's own generation and of the one before it.
    """
    generations = [int(key.removeprefix(PARENTS)) for key in attributes if key.startswith(PARENTS)]
    oldest = max(generations, default=0) - 1
    return {
        key: value
        for key, value in attributes.items()
        if not key.startswith(PARENTS) or int(key.removeprefix(PARENTS)) >= oldest
    }


_NOT_ITS_OWN = ("name", "sees", "by")
"""What is pinned beside the arguments of Optuna's constructors."""


def _sampler_arguments(search: SearchSpec) -> dict[str, Any]:
    seed = {"seed": search.sampler.seed}
    match search.sampler.name:
        case "tpe":
            return {
                **seed,
                "n_startup_trials": 10,
                "n_ei_candidates": 24,
                # With several objectives independent, as Optuna has it.
                "multivariate": len(search.objectives) == 1,
                "group": False,
                "constant_liar": True,
                "sees": MOST_SEEN,
                "by": RULE,
            }
        case "qmc":
            return {**seed, "qmc_type": "sobol", "scramble": True}
        case "nsga2":
            return {
                **seed,
                # Optuna's own 50 would leave a usual budget in the first, random generation.
                "population_size": min(50, max(8, search.budget.trials // 5)),
                "mutation": None,
                "mutation_prob": None,
                "crossover": "uniform",
                "crossover_prob": 0.9,
                "swapping_prob": 0.5,
            }
        case _:
            return seed


def _pruner_arguments(search: SearchSpec, first: int, epochs: int | None) -> dict[str, Any]:
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
        return {
            "min_resource": first,
            "max_resource": longest,
            "reduction_factor": 3,
            "bootstrap_count": 0,
        }
    return {}


class _Tpe(TPESampler):
    """TPE whose proposals follow from what it is shown, and not from what it was shown before.

    Which parameters all trials have in common, Optuna's own works out from trial to trial and
    remembers; of trials that have left the window a rebuilt sampler would know nothing.
    """

    def __init__(self, space: Space, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._everything = space.every_distribution

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        if not self._is_multivariate(study):
            return {}
        ended = study._get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        common = set.intersection(*(set(one.params) for one in ended)) if ended else set()
        return {name: self._everything[name] for name in sorted(common)}


class _Qmc(QMCSampler):
    """Quasi-random points of the whole space, inactive parameters included.

    Optuna's own takes the parameters of the first trial for the space, and draws those of
    choices that this trial did not make at random.
    """

    def __init__(self, space: Space, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._everything = space.every_distribution

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._everything
