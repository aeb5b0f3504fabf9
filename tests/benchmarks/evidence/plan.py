"""What is trained: networks with one activation everywhere, on five seeds each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_space.spec import ActivationSpec

TASK = {
    "name": "image-classification",
    "dataset": "fashion-mnist",
    "network": "small-cnn",
    "epochs": 8,
    "batch_size": 64,
    "train_samples": 6000,
}
SEEDS = range(5)
CHOOSING_SEEDS = range(2)
"""On these each network is trained at all rates; by them its rate is chosen."""
RATES = (0.33, 1.0, 3.0)
"""Factors of the recipe's learning rate. The middle one is the comparison at a fixed rate."""

WIDTHS = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes:
        name: Of the activation everywhere; parameters follow as `name=value`.
        params: What is not the entry's default.
        widths: Channels of the network's blocks.
        rate: Factor of the recipe's learning rate.
    """

    name: str
    params: tuple[tuple[str, Any], ...] = ()
    widths: tuple[int, ...] = WIDTHS
    rate: float = 1.0
    seed: int = 0

    @property
    def spec(self) -> ActivationSpec:
        return ActivationSpec(self.name, dict(self.params))

    def as_data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "params": dict(self.params),
            "widths": list(self.widths),
            "rate": self.rate,
            "seed": self.seed,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Run":
        params = tuple(data["params"].items())
        return Run(data["name"], params, tuple(data["widths"]), data["rate"], data["seed"])


EVERYWHERE = {
    "ReLU": Run("relu"),
    "PReLU": Run("prelu"),
    "SiLU": Run("silu"),
    "Swish": Run("swish"),
    "FReLU": Run("frelu"),
    "DY-ReLU-B": Run("dy_relu_b"),
    "ACON-C": Run("acon_c"),
    "Meta-ACON": Run("meta_acon"),
    "PWLU": Run("pwlu"),
    # Controls: gates without a learned shape, a ReLU net as large as PWLU's, and one whose
    # step takes as long as FReLU's, the slowest.
    "ReLU, SE-gated": Run("se_relu"),
    "ReLU, as large as PWLU": Run("relu", widths=(17, 34, 66)),
    "ReLU, as slow as FReLU": Run("relu", widths=(32, 64, 128)),
}
# What is an entry's own default is named without it, so that it is trained once.
SEGMENTS = {
    "PWLU, N = 4": Run("pwlu", (("segments", 4),)),
    "PWLU, N = 8": Run("pwlu", (("segments", 8),)),
    "PWLU, N = 16": Run("pwlu"),
    "PWLU, N = 32": Run("pwlu", (("segments", 32),)),
}
BOUNDS = {
    **{f"PWLU, X = {x:g}": Run("pwlu", (("bounds", x),)) for x in (1.0, 3.0, 5.0, 10.0)},
    "PWLU, realigned": Run("pwlu"),
}
REDUCTIONS = {
    "Meta-ACON, r = 2": Run("meta_acon", (("reduction", 2),)),
    "Meta-ACON, r = 4": Run("meta_acon", (("reduction", 4),)),
    "Meta-ACON, r = 8": Run("meta_acon", (("reduction", 8),)),
    "Meta-ACON, r = 16": Run("meta_acon"),
}


def trained(run: Run, rate: float, seeds: Iterable[int] = SEEDS) -> list[Run]:
    """Return a run's trainings at a rate."""
    return [replace(run, rate=rate, seed=seed) for seed in seeds]


def _beforehand() -> Iterator[Run]:
    for group in (EVERYWHERE, SEGMENTS, BOUNDS, REDUCTIONS):
        for run in group.values():
            yield from trained(run, 1.0)
    for run in EVERYWHERE.values():
        for rate in RATES:
            yield from trained(run, rate, CHOOSING_SEEDS)


RUNS = list(dict.fromkeys(_beforehand()))
"""What is trained in any case, the most telling first; `rates.demanded` tells what comes then."""
