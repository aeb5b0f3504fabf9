"""Spaces and data that the tests of the additive model share."""

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from service.study.additive.kernel import Kernel
from service.study.additive.model import Data, Setting
from service.study.additive.space import Site, Space, make_space

CONDITIONAL: dict[str, BaseDistribution] = {
    "first": CategoricalDistribution(("relu", "gelu", "pwlu")),
    "first/pwlu/segments": CategoricalDistribution((4, 8, 16)),
    "second": CategoricalDistribution(("relu", "gelu", "pwlu")),
    "second/pwlu/segments": CategoricalDistribution((4, 8, 16)),
    "third": CategoricalDistribution(("relu", "gelu", "pwlu")),
    "third/pwlu/segments": CategoricalDistribution((4, 8, 16)),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}

SITES = {"first": Site(0.0, "a"), "second": Site(0.4, "a"), "third": Site(1.0, "b")}


def conditional_space() -> Space:
    """Return three sites with ordered options, in two stages, and a learning rate."""
    return make_space(CONDITIONAL, sites=SITES)


def plain_space(sites: int = 3, choices: str = "abcd") -> Space:
    one = CategoricalDistribution(tuple(choices))
    return make_space({f"site {n}": one for n in range(sites)})


def random_codes(space: Space, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, space.sizes, (count, len(space.sizes)))


def random_data(space: Space, count: int, seed: int = 0, blocks: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    block = np.arange(count) % blocks if blocks else np.full(count, -1)
    return Data(
        random_codes(space, count, seed),
        rng.standard_normal(count),
        block,
        np.where(rng.random(count) < 0.2, 0.7, 0.0),
    )


def random_setting(kernel: Kernel, seed: int = 0, block: float = 0.3) -> Setting:
    rng = np.random.default_rng([seed, 1])
    *weights, noise = rng.dirichlet(np.ones(len(kernel.parts) + 1))
    return Setting(tuple(weights), float(noise), block)
