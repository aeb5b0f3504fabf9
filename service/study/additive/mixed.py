"""Two proposers, the additive model and TPE, in shares that follow how well each predicts."""

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from service.study.additive.observations import BlockOf, block_name
from service.study.additive.sampler import AdditiveSampler, unseen_uniforms
from service.study.additive.space import Parent, Site
from service.study.optuna_private import set_trial_attribute, trial_attributes

PROPOSER = "additive:proposer"
"""The attribute of a trial that says who proposed it: `model` or `tpe`."""

LEAST, MOST = 0.25, 0.75
"""Neither proposes less than that, since the judgement may be wrong."""

STARTUP = 10
"""TPE proposes at random until so many trials have ended: Optuna's own default."""

IN_TURN = 16
"""Up to so many observations both propose in turn: too few to judge by."""


class AutoSampler(BaseSampler):
    """Lets the additive model and TPE propose, the better predictor more often.

    Both are judged by how likely they hold, for each trial left out in its turn, what came of it:
    whether it belongs to the better quarter. The arguments are those of `AdditiveSampler`.

    Args:
        limits: The smallest and the largest share of the proposals that the model gets.
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
        limits: tuple[float, float] = (LEAST, MOST),
    ) -> None:
        self._limits = limits
        self.model = AdditiveSampler(
            search_space,
            parents=parents,
            sites=sites,
            seed=seed,
            block=block,
            uniform_first=uniform_first,
        )

    def reseed_rng(self) -> None:
        """Take a new random seed."""
        self.model.reseed_rng()

    def share(self, study: Study, but: int | None = None) -> float:
        """Return the model's share of the proposals, as the study's trials have it."""
        search_space = self.model.search_space(study)
        if not search_space or self._limits == (0.5, 0.5):
            return 0.5
        kernel = self.model.kernel(study, search_space)
        seen = self.model.observations(study, kernel.space, but=but)
        if len(seen) < IN_TURN:
            return 0.5
        return min(max(self.model.lead(kernel, seen), self._limits[0]), self._limits[1])

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Choose who proposes, and return the parameters that it proposes together."""
        everything = self.model.infer_relative_search_space(study, trial)
        proposer = self._choose(study, trial, everything)
        set_trial_attribute(study, trial, PROPOSER, proposer)
        if proposer == "model":
            return everything
        return dict(self._tpe(trial, "together").infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return what the chosen one proposes; in place of a repeat, what the model does."""
        if self._proposer(study, trial) == "model":
            return self.model.sample_relative(study, trial, search_space)
        params = dict(self._tpe(trial, "together").sample_relative(study, trial, search_space))
        everything = self.model.search_space(study)
        if params and params.keys() == everything.keys():
            space = self.model.kernel(study, everything).space
            seen = self.model.observations(study, space, but=trial.number)
            taken = seen.taken(block_name(trial, self.model.block))
            code = space.encode(params)
            if code is not None and (taken == code).all(axis=1).any():
                set_trial_attribute(study, trial, PROPOSER, "model")
                return self.model.sample_relative(study, trial, everything)
        return params

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is not proposed together with the others."""
        if self._proposer(study, trial) == "model":
            return self.model.sample_independent(study, trial, param_name, param_distribution)
        tpe = self._tpe(trial, param_name)
        return tpe.sample_independent(study, trial, param_name, param_distribution)

    def _choose(
        self, study: Study, trial: FrozenTrial, everything: Mapping[str, BaseDistribution]
    ) -> str:
        if not everything:
            return "model"
        kernel = self.model.kernel(study, everything)
        seen = self.model.observations(study, kernel.space, but=trial.number)
        if self.model.uniform_first and unseen_uniforms(kernel.space, seen):
            return "model"
        share = self.share(study, but=trial.number)
        # As even as the share allows: at one half, every second trial.
        goes = int((trial.number + 1) * share) > int(trial.number * share)
        return "model" if goes else "tpe"

    def _proposer(self, study: Study, trial: FrozenTrial) -> str:
        attributes = trial_attributes(study, trial)
        return str(attributes.get(PROPOSER, "model"))

    def _tpe(self, trial: FrozenTrial, purpose: str) -> TPESampler:
        """Return a new TPE for each draw: what it proposes follows from the study alone."""
        text = f"{self.model.seed}/{trial.number}/{purpose}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return TPESampler(
            n_startup_trials=STARTUP,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=True,
            seed=seed,
        )
