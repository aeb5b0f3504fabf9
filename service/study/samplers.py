"""Optuna's samplers and pruners, as a search names them: every argument pinned."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

from search_space.search import SearchSpec
from search_space.search_sections import MAX_REALIGN_AFTER
from search_space.space.space import Space
from service.study.optuna_private import (
    GENERATION,
    PARENTS_PREFIX,
    all_trials,
    seed_generators,
)
from service.study.window import MAX_VISIBLE, RULE, Windowed, visible_study

if TYPE_CHECKING:
    from service.study.additive import AdditiveSampler, Estimates, Site


def pinned_arguments(search: SearchSpec, *, has_phases: bool, epochs: int | None) -> dict[str, Any]:
    """Return every argument of the sampler and the pruner, and the epochs that they follow from.

    They are stored with the search: a later version of Optuna with other defaults must not change
    what a search proposes.
    """
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

    It lies after the longest phase of any offered choice, for all trials alike: a phased
    activation has not trained its own parameters before, so its value says nothing yet.
    """
    if not has_phases or epochs is None:
        return 1
    return int(MAX_REALIGN_AFTER * epochs) + 1


def make_sampler(pinned: Mapping[str, Any], space: Space) -> BaseSampler:
    """Return the sampler that `pinned_arguments` describes."""
    arguments = {key: value for key, value in pinned.items() if key not in _NOT_FOR_OPTUNA}
    match pinned["name"]:
        case "tpe":
            return Windowed(_Tpe(space, **arguments))
        case "additive" | "auto":
            return _model_sampler(pinned["name"], space, arguments)
        case "qmc":
            return _Qmc(space, **arguments)
        case "nsga2":
            crossover = UniformCrossover(arguments["swapping_prob"])
            return NSGAIISampler(**arguments | {"crossover": crossover})
        case _:
            # The service enumerates a grid itself and never asks this sampler.
            return RandomSampler(**arguments)


class ModelSampler(Windowed):
    """A sampler with an additive model, which also estimates the candidates."""

    def __init__(self, inner: BaseSampler, model: "AdditiveSampler") -> None:
        super().__init__(inner)
        self.model = model


def _model_sampler(name: str, space: Space, arguments: Mapping[str, Any]) -> ModelSampler:
    # Imported here, since scipy takes long to load and other samplers do without.
    from service.study.additive import AdditiveSampler, AutoSampler

    distributions, sites = space.every_distribution, sites_by_group(space)
    if name == "additive":
        model = AdditiveSampler(distributions, sites=sites, **arguments)
        return ModelSampler(model, model)
    auto = AutoSampler(distributions, sites=sites, **arguments)
    return ModelSampler(auto, auto.model)


def make_pruner(pinned: Mapping[str, Any]) -> BasePruner:
    """Return the pruner that `pinned_arguments` describes."""
    arguments = {key: value for key, value in pinned.items() if key not in _NOT_FOR_OPTUNA}
    pruners: dict[str, type[BasePruner]] = {
        "none": NopPruner,
        "median": MedianPruner,
        "asha": SuccessiveHalvingPruner,
        "hyperband": HyperbandPruner,
    }
    return pruners[pinned["name"]](**arguments)


def reseed(sampler: BaseSampler, seed: int) -> None:
    """Seed every random generator of a sampler."""
    match sampler:
        case ModelSampler():
            pass  # What it draws follows from its seed and the number of the trial.
        case Windowed():
            reseed(sampler.inner, seed)
        case QMCSampler():
            pass  # Its sequence follows from the search's seed and the count of its points.
        case _:
            seed_generators(sampler, seed)


def set_block_of(sampler: BaseSampler, number: int, seed_block: int | None) -> None:
    """Tell a model the seed block of a trial that is about to be asked for.

    Other trials have it among their attributes, which a trial can have only once it is there.
    """
    if isinstance(sampler, ModelSampler):
        sampler.model.block = lambda other: seed_block if other == number else None


def estimates_of(sampler: BaseSampler, study: Study) -> "Estimates | None":
    """Return what the model of a sampler estimates, or None if it has no model."""
    if not isinstance(sampler, ModelSampler):
        return None
    from service.study.additive import Estimates

    return Estimates.of(visible_study(study), sampler.model)


def initial_attributes(pinned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system attributes that a trial needs which the sampler did not propose.

    NSGA-II chooses parents only among trials that have a generation: such a trial joins the first.
    """
    return {GENERATION: 0} if pinned["name"] == "nsga2" else {}


def needed_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system attributes of a study that its sampler may still read.

    NSGA-II reads the parents of a trial's own generation and of the one before. Without this the
    row of the search would grow by the list of parents of every generation.
    """
    generations = {
        key: int(key.removeprefix(PARENTS_PREFIX))
        for key in attributes
        if key.startswith(PARENTS_PREFIX)
    }
    oldest = max(generations.values(), default=0) - 1
    return {
        key: value for key, value in attributes.items() if generations.get(key, oldest) >= oldest
    }


def sites_by_group(space: Space) -> "dict[str, Site]":
    """Return where in the network the sites of each group stand, for the additive model."""
    from service.study.additive import Site

    last = max(len(space.groups) - 1, 1)
    return {
        group.name: Site(depth=place / last, stage=group.sites[0].stage)
        for place, group in enumerate(space.groups)
    }


_NOT_FOR_OPTUNA = ("name", "sees", "by", "seed_blocks")
"""Keys of the pinned arguments that Optuna's constructors do not take."""


def _sampler_arguments(search: SearchSpec) -> dict[str, Any]:
    seed = {"seed": search.sampler.seed}
    match search.sampler.name:
        case "tpe":
            return {
                **seed,
                "n_startup_trials": 10,
                "n_ei_candidates": 24,
                # With several objectives independent, which is Optuna's default.
                "multivariate": len(search.objectives) == 1,
                "group": False,
                "constant_liar": True,
                "sees": MAX_VISIBLE,
                "by": RULE,
            }
        case "additive" | "auto":
            blocks = search.sampler.blocks
            return {**seed, "seed_blocks": blocks, "sees": MAX_VISIBLE, "by": RULE}
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
    """TPE whose proposals depend only on the trials that it sees now.

    Optuna's `IntersectionSearchSpace` remembers, from ask to ask, which parameters all trials
    have in common. A rebuilt sampler cannot know of trials that have left the window.
    """

    def __init__(self, space: Space, *, multivariate: bool, **arguments: Any) -> None:
        super().__init__(multivariate=multivariate, **arguments)
        self._is_joint = multivariate
        self._every_distribution = space.every_distribution

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        if not self._is_joint:
            return {}
        ended = all_trials(study, (TrialState.COMPLETE, TrialState.PRUNED))
        common = set.intersection(*(set(one.params) for one in ended)) if ended else set()
        return {name: self._every_distribution[name] for name in sorted(common)}


class _Qmc(QMCSampler):
    """Quasi-random points of the whole space, inactive parameters included.

    Optuna takes the parameters of the first trial for the space, and draws at random those of
    choices that this trial did not make.
    """

    def __init__(self, space: Space, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._every_distribution = space.every_distribution

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._every_distribution
