"""What the model says of the candidates that were trained, and of what matters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from optuna.study import Study
from optuna.trial import TrialState
from scipy.special import ndtr, ndtri

from service.study.additive.features import Floats
from service.study.additive.kernel import Kernel
from service.study.additive.model import Ints, Posterior
from service.study.additive.observations import CLIPPED_BELOW, Observations
from service.study.additive.sampler import AdditiveSampler
from service.study.additive.space import Codes

LEVEL = 0.9
"""Probability that an interval holds what it is of."""

DRAWS = 512


ALL_UP_TO = 100
"""Observations up to which all settings of the model that were kept are averaged."""


@dataclass(frozen=True)
class Estimate:
    """What the model says of one candidate, in the unit of the study's values.

    Attributes:
        code: The candidate, as a level of each axis.
        trials: The numbers of its trials.
        observed: Mean of the values of those that were trained to their end; None: none was.
        mean, low, high: The estimate and its interval, of an average seed block. Only the best
            have an interval (`ranking`).
        beats_rival: Probability that it is better than the rival; None without a rival, of the
            rival itself, and where there is no interval.
    """

    code: tuple[int, ...]
    trials: tuple[int, ...]
    observed: float | None
    mean: float
    low: float | None
    high: float | None
    beats_rival: float | None


@dataclass(frozen=True)
class Effect:
    """A number with its interval.

    Attributes:
        name: Of the parameter, or of a choice.
        mean, low, high: The share of what main effects explain; of a choice, its gain over the
            mean of the choices, in the unit of the study's values, larger being better.
    """

    name: str
    mean: float
    low: float
    high: float


class Estimates:
    """The posterior over trained candidates, a mixture over the settings of the model."""

    def __init__(self, kernel: Kernel, seen: Observations, sampler: AdditiveSampler) -> None:
        self._kernel, self._seen = kernel, seen
        fitted = sampler.fit(kernel, seen)
        # A posterior takes time with the cube of the observations, while fewer settings are
        # likely the more there are: all of them together take no longer than with ALL_UP_TO.
        share = min(1.0, (ALL_UP_TO / len(seen)) ** 3)
        count = max(1, int(len(fitted.settings) * share))
        likely = np.array(fitted.probabilities[:count])
        self._probabilities = likely / likely.sum()
        self._posteriors = [Posterior(kernel, seen.data, one) for one in fitted.settings[:count]]

    @classmethod
    def of(cls, study: Study, sampler: AdditiveSampler) -> "Estimates | None":
        """Return the estimates of a study, None where fewer than two trials say anything."""
        search_space = sampler.search_space(study)
        if not search_space:
            return None
        kernel = sampler.kernel(study, search_space)
        seen = sampler.observations(study, kernel.space)
        return cls(kernel, seen, sampler) if len(seen) > 1 else None

    @cached_property
    def codes(self) -> Codes:
        """The candidates trained so far, each once, in the order of their first trials."""
        firsts = np.unique(self._seen.codes, axis=0, return_index=True)[1]
        return self._seen.codes[np.sort(firsts)]

    @cached_property
    def means(self) -> Floats:
        """The expectation of each, on the model's scale: larger is better."""
        return np.asarray(self._probabilities @ self._each_mean)

    def ranking(self, rival: Sequence[int] | None = None, most: int = 100) -> list[Estimate]:
        """Return the trained candidates, the best estimate first.

        Args:
            rival: A trained candidate, such as `best_uniform`.
            most: So many of the best have an interval, and the probability to beat the rival.
        """
        order = np.argsort(-self.means, kind="stable")
        best = order[:most]
        reach = self._reach(best)
        beats = None if rival is None else self._beats(best, rival)
        return [
            self._estimate(
                row,
                float(reach[place]) if place < len(best) else None,
                _number(beats[place]) if beats is not None and place < len(best) else None,
            )
            for place, row in enumerate(order)
        ]

    @property
    def best(self) -> tuple[int, ...]:
        """The trained candidate with the best estimate: what is recommended."""
        return self._code(int(np.argmax(self.means)))

    @property
    def best_uniform(self) -> tuple[int, ...] | None:
        """Of the trained candidates with one choice at all sites, the one with the best
        estimate; None where there is none.
        """
        space = self._kernel.space
        family = max(space.families, key=len, default=())
        rows = [
            row
            for row, code in enumerate(self.codes.tolist())
            if len(family) > 1 and len({space.label(axis, code[axis]) for axis in family}) == 1
        ]
        return self._code(max(rows, key=lambda row: self.means[row])) if rows else None

    def importances(self) -> list[Effect]:
        """Return which share of what main effects explain each parameter has, largest first."""
        offsets = self._kernel.offsets
        variances = np.array(
            [self._effects[:, first:end].var(axis=1) for first, end in pairwise(offsets)]
        )
        shares = variances / np.maximum(variances.sum(axis=0), 1e-300)
        names = [axis.name for axis in self._kernel.space.axes]
        effects = [_effect(name, one) for name, one in zip(names, shares, strict=True)]
        return sorted(effects, key=lambda effect: -effect.mean)

    def choices(self) -> list[Effect]:
        """Return what each choice of the sites gains over their mean, the best first.

        A choice with parameters of its own counts with their mean.
        """
        space = self._kernel.space
        family = max(space.families, key=len, default=())
        places: dict[str, list[int]] = {}
        for axis in family:
            for level in range(space.sizes[axis]):
                column = int(self._kernel.offsets[axis]) + level
                places.setdefault(space.label(axis, level), []).append(column)
        # The effect at all sites at once: that of a uniform network.
        totals = np.array(
            [self._effects[:, columns].mean(axis=1) * len(family) for columns in places.values()]
        )
        gains = (totals - totals.mean(axis=0)) * self._seen.scale.spread
        effects = [_effect(name, one) for name, one in zip(places, gains, strict=True)]
        return sorted(effects, key=lambda effect: -effect.mean)

    @cached_property
    def _effects(self) -> Floats:
        """Draws of the main effect of each column from the posterior, `(draws, columns)`."""
        rng = np.random.default_rng(13)
        counts = np.maximum(1, np.round(self._probabilities * DRAWS)).astype(int)
        draws = [_main_effects(p, n, rng) for p, n in zip(self._posteriors, counts, strict=True)]
        return np.concatenate(draws)

    @cached_property
    def _each_mean(self) -> Floats:
        return np.array([posterior.means(self.codes) for posterior in self._posteriors])

    def _reach(self, rows: Ints) -> Floats:
        """Return half of the length of the interval of candidates."""
        codes, means = self.codes[rows], self._each_mean[:, rows]
        within = np.array([np.diag(one.covariance(codes)) for one in self._posteriors])
        variance = self._probabilities @ (within + (means - self.means[rows]) ** 2)
        return np.asarray(ndtri((1 + LEVEL) / 2) * np.sqrt(variance))

    def _beats(self, rows: Ints, rival: Sequence[int]) -> Floats:
        """Return the probability that candidates are better than one of the trained ones."""
        of_rival = np.flatnonzero((self.codes == np.array(rival)).all(axis=1))
        if not len(of_rival):
            raise ValueError(f"the rival is a trained candidate, got {tuple(rival)}")
        codes = self.codes[[*rows, of_rival[0]]]
        total = np.zeros(len(rows))
        parts = zip(self._probabilities, self._each_mean, self._posteriors, strict=True)
        for probability, mean, posterior in parts:
            covariance = posterior.covariance(codes)
            own = np.diag(covariance)
            variance = own[:-1] + own[-1] - 2 * covariance[-1, :-1]
            ahead = mean[rows] - mean[of_rival[0]]
            total += probability * ndtr(ahead / np.sqrt(np.maximum(variance, 1e-12)))
        # Nothing is better than itself.
        total[rows == of_rival[0]] = np.nan
        return total

    def _estimate(self, row: int, reach: float | None, beats: float | None) -> Estimate:
        code = self._code(row)
        own = np.flatnonzero((self._seen.codes == np.array(code)).all(axis=1))
        trials = [self._seen.ended[place] for place in own]
        values = [t.values[0] for t in trials if t.state == TrialState.COMPLETE]
        low, high = (None, None) if reach is None else self._interval(row, reach, own, values)
        return Estimate(
            code,
            tuple(trial.number for trial in trials),
            float(np.mean(values)) if values else None,
            float(self._seen.scale.back(self.means[row : row + 1])[0]),
            low,
            high,
            beats,
        )

    def _interval(
        self, row: int, reach: float, own: Ints, values: Sequence[float]
    ) -> tuple[float, float]:
        scale = self._seen.scale
        ends = np.array([self.means[row] - reach, self.means[row] + reach])
        low, high = (float(value) for value in np.sort(scale.back(ends)))
        if (self._seen.data.values[own] <= -CLIPPED_BELOW).any():
            # The model was not told how bad the candidate is.
            return (low, max([high, *values])) if scale.sign < 0 else (min([low, *values]), high)
        return low, high

    def _code(self, row: int) -> tuple[int, ...]:
        return tuple(int(level) for level in self.codes[row])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _main_effects(posterior: Posterior, count: int, rng: np.random.Generator) -> Floats:
    """Draw main effects from the posterior of one setting."""
    kernel, data = posterior.kernel, posterior.data
    prior = kernel.main_covariance(posterior.setting.shares)
    cross = prior[kernel.columns(data.codes)].sum(axis=1)
    mean = posterior.weights @ cross
    covariance = posterior.scale * (prior - cross.T @ posterior.solve(cross))
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(mean + rng.standard_normal((count, len(mean))) @ root.T)


def _effect(name: str, draws: Floats) -> Effect:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Effect(name, float(draws.mean()), float(low), float(high))
