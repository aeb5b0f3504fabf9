"""Worlds to search in: what every candidate is really worth, and what a training shows of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from tests.benchmarks.search_outside import Outside, fcnet, nas_bench
from workers.simulation.table import Table, load

Floats = NDArray[np.float64]
Code = tuple[int, ...]

BLOCK, INTERPLAY, OWN = 0.25, 0.07, 0.09
"""Variances between trainings, in points squared: what all trainings of a seed have in common,
what those with a variant at a site have, and the rest. As measured on `mlp-1d`."""


@dataclass(frozen=True)
class World:
    """One truth, drawn at random, and its noise.

    Attributes:
        variants: The names of what may stand at each site.
        truth: The worth of a candidate, in points.
        seed: Of the noise: a training of a candidate in a block always shows the same.
        variances: Of the noise: common to a block, by site and variant, of each training.
        unevenness: The standard deviation of the logarithm of the noise between candidates.
        attainable: The best worth; None: found by going through all candidates.
        shown: What a training in a block shows, in place of truth and noise.
    """

    variants: tuple[str, ...]
    sites: int
    truth: Callable[[Code], float]
    seed: int
    variances: tuple[float, float, float] = (BLOCK, INTERPLAY, OWN)
    unevenness: float = 0.0
    attainable: float | None = None
    shown: Callable[[Code, int], float] | None = None
    _blocks: dict[int, tuple[float, Floats]] = field(default_factory=dict)

    @property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        one = CategoricalDistribution(self.variants)
        return {f"site {site:02}": one for site in range(self.sites)}

    def code(self, params: Mapping[str, str]) -> Code:
        return tuple(self.variants.index(params[name]) for name in self.distributions)

    def params(self, code: Code) -> dict[str, str]:
        names = self.distributions
        return {name: self.variants[v] for name, v in zip(names, code, strict=True)}

    @property
    def uniforms(self) -> list[Code]:
        return [(variant,) * self.sites for variant in range(len(self.variants))]

    @property
    def size(self) -> int:
        return int(len(self.variants) ** self.sites)

    @cached_property
    def best_uniform(self) -> float:
        return max(map(self.truth, self.uniforms))

    @cached_property
    def most(self) -> float:
        """What the best candidate gains over the best uniform one."""
        if self.attainable is not None:
            return self.attainable - self.best_uniform
        every = product(range(len(self.variants)), repeat=self.sites)
        return max(map(self.truth, every)) - self.best_uniform

    def gain(self, code: Code) -> float:
        """Return what a candidate really gains over the best uniform one."""
        return self.truth(code) - self.best_uniform

    def train(self, code: Code, block: int) -> float:
        """Return what a training shows."""
        if self.shown is not None:
            return self.shown(code, block)
        common, interplay = self._block(block)
        rng = np.random.default_rng([self.seed, 2, block, *code])
        factor = 1.0
        if self.unevenness:
            of_candidate = np.random.default_rng([self.seed, 3, *code])
            factor = float(np.exp(of_candidate.normal(0.0, self.unevenness)))
        own = factor * np.sqrt(self.variances[2]) * rng.standard_normal()
        effect = interplay[np.arange(self.sites), list(code)].sum()
        return float(self.truth(code) + common + effect + own)

    def _block(self, block: int) -> tuple[float, Floats]:
        if block not in self._blocks:
            rng = np.random.default_rng([self.seed, 1, block])
            common = np.sqrt(self.variances[0]) * rng.standard_normal()
            effects = rng.standard_normal((self.sites, len(self.variants)))
            self._blocks[block] = common, effects * np.sqrt(self.variances[1] / self.sites)
        return self._blocks[block]


def from_table(keep: tuple[int, ...], number: int) -> World:
    """Return a world that the table of real trainings makes likely, with paired seeds.

    The truth is the table shrunk towards its main effects and pairs, order by order, as much as
    its noise demands, with what remains uncertain drawn at random.
    """
    table = load()
    values = 100 * table.accuracy[:, :, -1]
    rng = np.random.default_rng([number, 4])
    truth = shrunken(table, values, rng)
    return World(
        tuple(_name(table.about["variants"][k]) for k in keep),
        len(table.plan.sites),
        lambda code: float(truth[tuple(keep[v] for v in code)]),
        number,
    )


def replay(number: int) -> World:
    """Return the table itself: a search sees two of its seeds, the third, shrunk, is the truth."""
    table = load()
    values = 100 * table.accuracy[:, :, -1]
    hidden = number % table.seeds
    seen = [seed for seed in range(table.seeds) if seed != hidden]
    truth = shrunken(table, values[:, [hidden]], None, _noise(values))
    shape = truth.shape
    return World(
        tuple(map(_name, table.about["variants"])),
        len(shape),
        lambda code: float(truth[code]),
        number,
        shown=lambda code, block: float(
            values[np.ravel_multi_index(code, shape), seen[block % len(seen)]]
        ),
    )


def smooth(sites: int, number: int) -> World:
    """Return a world whose effects change slowly with depth: half of them are the same all over."""
    rng = np.random.default_rng([number, sites, 5])
    depth = np.linspace(0, 1, sites)
    root = np.linalg.cholesky(
        np.exp(-(((depth[:, None] - depth) / 0.4) ** 2)) + 1e-9 * np.eye(sites)
    )
    count = 6
    shared = np.sqrt(0.4) * rng.standard_normal(count) / np.sqrt(sites)
    slow = np.sqrt(0.45) * root @ rng.standard_normal((sites, count)) / np.sqrt(sites)
    rough = np.sqrt(0.15) * rng.standard_normal((sites, count)) / np.sqrt(sites)
    effects = shared + slow + rough
    return World(
        tuple("abcdef"),
        sites,
        lambda code: float(effects[np.arange(sites), list(code)].sum()),
        number,
        attainable=float(effects.max(axis=1).sum()),
    )


def rugged(number: int) -> World:
    """Return a world that pairs of sites rule: main effects are a quarter, noise is small."""
    rng = np.random.default_rng([number, 6])
    count, sites = 5, 3
    truth = _random_effects(rng, (count,) * sites, {1: 0.25, 2: 0.55, 3: 0.2})
    return World(tuple("abcde"), sites, lambda code: float(truth[code]), number, (0.01, 0.01, 0.02))


def ruinous(number: int) -> World:
    """Return a world with a variant that ruins training at two of four sites, in varying degree;
    noise differs tenfold between candidates.
    """
    rng = np.random.default_rng([number, 7])
    count, sites = 4, 4
    truth = _random_effects(rng, (count,) * sites, {1: 6.0, 2: 3.0, 3: 1.0})
    bad, places = int(rng.integers(count)), set(rng.permutation(sites)[:2].tolist())
    depths = 20 * (1 + rng.random((count,) * sites))

    def worth(code: Code) -> float:
        ruined = sum(variant == bad and site in places for site, variant in enumerate(code))
        return float(truth[code] - ruined * depths[code])

    return World(tuple("abcd"), sites, worth, number, (0.5, 0.3, 1.5), unevenness=1.0)


def nothing(number: int) -> World:
    """Return a world where hardly anything is to be found: effects of a tenth of the noise."""
    rng = np.random.default_rng([number, 8])
    truth = _random_effects(rng, (5, 5, 5), {1: 0.006, 2: 0.002, 3: 0.002})
    return World(tuple("abcde"), 3, lambda code: float(truth[code]), number)


WORLDS: dict[str, Callable[[int], World]] = {
    "sub": lambda number: from_table((0, 1, 4, 5, 6, 7), number),
    "full": lambda number: from_table(tuple(range(8)), number),
    "replay": replay,
    "smooth 9": lambda number: smooth(9, number),
    "smooth 19": lambda number: smooth(19, number),
    "smooth 55": lambda number: smooth(55, number),
    "rugged": rugged,
    "ruinous": ruinous,
    "nothing": nothing,
}

OUTSIDE: dict[str, Callable[[int], Outside]] = {
    **{
        f"nas-bench {name}": partial(nas_bench, name)
        for name in ("cifar10", "cifar100", "imagenet")
    },
    **{
        f"fcnet {name}": partial(fcnet, name)
        for name in ("naval_propulsion", "protein_structure", "slice_localization")
    },
}


def shrunken(
    table: Table, values: Floats, rng: np.random.Generator | None, noise: float | None = None
) -> Floats:
    """Return the expectation of each candidate `(variants, ...)`, given a table of values.

    The effects of every set of sites are orthogonal; each set's are shrunk by the share of noise
    in their mean square. With `rng`, a draw from what the table leaves possible.

    Args:
        values: `(candidates, seeds)`.
        noise: The variance between the seeds of one candidate; None: as the values have it.
    """
    count, sites = len(table.about["variants"]), len(table.plan.sites)
    mean = values.mean(axis=1).reshape((count,) * sites)
    error = (_noise(values) if noise is None else noise) / values.shape[1]
    truth = np.full(mean.shape, mean.mean())
    for order in range(1, sites + 1):
        sets = list(combinations(range(sites), order))
        parts = [_effects(mean, set(some)) for some in sets]
        freedom = (count - 1) ** order * len(sets)
        square = sum(float((part**2).sum()) for part in parts) / freedom
        kept = max(0.0, square - error) / square
        truth = truth + kept * np.sum(parts, axis=0)
        if rng is not None:
            left = np.sqrt(max(0.0, square - error) * (1 - kept))
            noises = [_effects(rng.standard_normal(mean.shape), set(some)) for some in sets]
            truth = truth + left * np.sum(noises, axis=0)
    return truth


def _effects(values: Floats, axes: set[int]) -> Floats:
    """Return the interaction of some axes: centred along these, averaged over the others."""
    for axis in range(values.ndim):
        mean = values.mean(axis=axis, keepdims=True)
        values = values - mean if axis in axes else np.broadcast_to(mean, values.shape)
    return np.asarray(values)


def _random_effects(
    rng: np.random.Generator, shape: tuple[int, ...], variances: Mapping[int, float]
) -> Floats:
    """Return a table whose effects of each order have these variances."""
    total = np.zeros(shape)
    for order, variance in variances.items():
        sets = list(combinations(range(len(shape)), order))
        part = np.sum([_effects(rng.standard_normal(shape), set(some)) for some in sets], axis=0)
        total += part * np.sqrt(variance / part.var())
    return total


def _noise(values: Floats) -> float:
    return float(values.var(axis=1, ddof=1).mean())


def _name(variant: Mapping[str, object]) -> str:
    segments = variant.get("segments")
    return str(variant["name"]) if segments is None else f"{variant['name']}-{segments}"
