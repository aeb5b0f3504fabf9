"""The additive model as a sampler of any Optuna study."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from service.study.additive.acquisition import LISTED, Sample, best_candidate, without
from service.study.additive.conditions import observed_parents
from service.study.additive.kernel import Kernel
from service.study.additive.model import Fit, Posterior, evenly, fit
from service.study.additive.observations import BlockOf, Observations, block_name, observe
from service.study.additive.parzen import density_ratio_scores, model_scores, share_of
from service.study.additive.space import Codes, Parent, Site, Space, make_space
from service.study.optuna_private import all_trials

FEWEST = 2
"""Observations from which on the model proposes; before, candidates are random."""

FITS_KEPT = 8

T = TypeVar("T")

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class AdditiveSampler(BaseSampler):
    """Thompson sampling from a Gaussian process that is a sum of effects.

    Parameters with the same choices of words are taken for the same kind of choice at several
    places (sites of a network): what is learned of a choice at one holds, in part, for the others.
    The same content of a study and the same seed always give the same proposal.

    Args:
        search_space: All parameters, conditional ones included. None: those that the study's
            trials have had, so that the first trial is random.
        parents: On what conditional parameters depend. None: as names `parent/choice/parameter`
            say, and where no space is given as the trials show.
        sites: Which parameters stand at sites, and where these lie. None: those that share
            choices, in the order of the space.
        seed: Of all random numbers; None: a random one.
        block: The seed block of a trial that has no attribute `seed_block`, by its number.
            Trainings of one block share their seed: what they have in common is no effect.
        uniform_first: Propose the candidates with one choice at all sites first.
    """

    def __init__(
        self,
        search_space: Mapping[str, BaseDistribution] | None = None,
        *,
        parents: Mapping[str, Parent] | None = None,
        sites: Mapping[str, Site] | None = None,
        seed: int | None = None,
        block: BlockOf | None = None,
        uniform_first: bool = True,
    ) -> None:
        self._given = None if search_space is None else dict(search_space)
        self._parents, self._sites = parents, sites
        self.block, self.uniform_first = block, uniform_first
        self.seed = _random_seed() if seed is None else seed
        # Results of functions of what the study holds, kept since they take long.
        self._kernels: OrderedDict[Any, Kernel] = OrderedDict()
        self._fits: OrderedDict[Any, Fit] = OrderedDict()
        self._leads: OrderedDict[Any, float] = OrderedDict()
        self._codes: dict[int, tuple[dict[str, Any], Space, tuple[int, ...] | None]] = {}

    def reseed_rng(self) -> None:
        """Take a new random seed, as Optuna asks for in processes that run side by side."""
        self.seed = _random_seed()

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return all parameters; what a trial does not ask for is not used."""
        if len(study.directions) > 1:
            raise ValueError(f"one objective, got {len(study.directions)}")
        return self.search_space(study)

    def search_space(self, study: Study) -> dict[str, BaseDistribution]:
        """Return the parameters that were given, or those that trials have had."""
        if self._given is not None:
            return dict(self._given)
        found: dict[str, BaseDistribution] = {}
        for ended in all_trials(study, ENDED):
            for name, distribution in ended.distributions.items():
                found.setdefault(name, distribution)
        return {name: one for name, one in found.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return parameters of the candidate to train next."""
        if not search_space:
            return {}
        kernel = self.kernel(study, search_space)
        rng = np.random.default_rng([self.seed, trial.number])
        return kernel.space.decode(self._propose(study, trial, kernel, rng), rng)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that no trial has had before."""
        digest = hashlib.sha256(f"{self.seed}/{trial.number}/{param_name}".encode()).digest()
        random = RandomSampler(seed=int.from_bytes(digest[:4], "big"))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def kernel(self, study: Study, search_space: Mapping[str, BaseDistribution]) -> Kernel:
        """Return the kernel of a space."""
        distributions = dict(search_space)
        parents = self._parents
        if parents is None and self._given is None:
            trials = all_trials(study, ENDED)
            parents = observed_parents([trial.params for trial in trials], distributions)
        key = (tuple(distributions.items()), None if parents is None else tuple(parents.items()))
        return _kept(
            self._kernels, key, lambda: Kernel(make_space(distributions, parents, self._sites)), 2
        )

    def observations(self, study: Study, space: Space, but: int | None = None) -> Observations:
        """Return what the study's trials tell, one left out: that which is asked for."""
        trials = all_trials(study)
        others = [trial for trial in trials if trial.number != but]
        return observe(
            others,
            study.direction,
            space,
            self.block,
            encode=lambda trial: self._encode(trial, space),
        )

    def fit(self, kernel: Kernel, seen: Observations) -> Fit:
        """Return the settings: those of the first observations, anew after every few more."""
        count = self.fitted_length(seen)
        key = (kernel, seen.key(count))
        return _kept(self._fits, key, lambda: fit(kernel, seen.first(count).data), FITS_KEPT)

    def lead(self, kernel: Kernel, seen: Observations) -> float:
        """Return how sure it is that the model predicts better than the density ratio of TPE."""
        count = self.fitted_length(seen)

        def judge() -> float:
            data = evenly(seen.first(count).data)
            scores = model_scores(kernel, data, self.fit(kernel, seen))
            return share_of(scores, density_ratio_scores(kernel, data))

        return _kept(self._leads, (kernel, seen.key(count)), judge, FITS_KEPT)

    @staticmethod
    def fitted_length(seen: Observations) -> int:
        """Return on how many of the first observations settings rest: they change at every
        fourth of the first forty, then with every tenth part more.
        """
        count = len(seen)
        if count <= 40:
            return max(count - count % 4, min(count, FEWEST))
        length = 40
        while (longer := length + length // 10) <= count:
            length = longer
        return length

    def _propose(
        self, study: Study, trial: FrozenTrial, kernel: Kernel, rng: np.random.Generator
    ) -> Sequence[int]:
        space = kernel.space
        seen = self.observations(study, space, but=trial.number)
        taken = seen.taken(block_name(trial, self.block))
        if self.uniform_first:
            unseen = unseen_uniforms(space, seen)
            if unseen:
                return unseen[0]
        if len(seen) < FEWEST:
            return _random_candidate(space, taken, rng)
        posterior = Posterior(kernel, seen.data, self.fit(kernel, seen).draw(rng))
        known = seen.codes[np.argsort(-posterior.fitted, kind="stable")]
        return [int(x) for x in best_candidate(Sample(posterior, rng), known, taken, rng)]

    def _encode(self, trial: FrozenTrial, space: Space) -> tuple[int, ...] | None:
        kept = self._codes.get(trial.number)
        if kept is not None and kept[1] is space and kept[0] == trial.params:
            return kept[2]
        code = space.encode(trial.params)
        self._codes[trial.number] = (dict(trial.params), space, code)
        return code


def unseen_uniforms(space: Space, seen: Observations) -> list[tuple[int, ...]]:
    """Return the uniform candidates of which no variant has been trained or runs."""
    family = max(space.families, key=len, default=())
    tried = [*map(tuple, seen.codes.tolist()), *(code for code, _ in seen.pending)]
    labels = [{space.label(axis, code[axis]) for axis in family} for code in tried]
    return [code for label, code in space.uniforms.items() if {label} not in labels]


def _random_candidate(space: Space, taken: Codes, rng: np.random.Generator) -> list[int]:
    """Return a random candidate that is not taken, where there is one."""
    if space.size <= LISTED:
        free = without(space.enumerate(), taken)
        pool = free if len(free) else space.enumerate()
        return [int(level) for level in pool[rng.integers(len(pool))]]
    return [int(rng.integers(size)) for size in space.sizes]


def _kept(cache: OrderedDict[Any, T], key: Any, make: Callable[[], T], most: int) -> T:
    """Return what is kept for a key, or make it; the longest unused goes first."""
    if key not in cache:
        cache[key] = make()
        while len(cache) > most:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _random_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])
