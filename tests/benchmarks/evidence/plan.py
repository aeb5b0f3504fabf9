"""What is trained: networks with one activation everywhere, on five seeds each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
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

    @property
    def label(self) -> str:
        """The network, without rate and seed."""
        params = "".join(f", {name} {value:g}" for name, value in self.params)
        return self.name + params + ("" if self.widths == WIDTHS else f", widths {self.widths}")

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


EVERYWHERE = (
    Run("relu"),
    Run("prelu"),
    Run("silu"),
    Run("swish"),
    Run("frelu"),
    Run("dy_relu_b"),
    Run("acon_c"),
    Run("meta_acon"),
    Run("pwlu"),
    # Controls: gates without a learned shape, a ReLU net as large as PWLU's, and one whose
    # step takes as long as FReLU's, the slowest.
    Run("se_relu"),
    Run("relu", widths=(17, 34, 66)),
    Run("relu", widths=(32, 64, 128)),
)
SEGMENTS = tuple(Run("pwlu", (("segments", n),)) for n in (4, 8, 16, 32))
BOUNDS = tuple(Run("pwlu", (("bounds", x),)) for x in (1.0, 3.0, 5.0, 10.0))
REDUCTIONS = tuple(Run("meta_acon", (("reduction", r),)) for r in (2, 4, 8, 16))


def _with(run: Run, *, rates: tuple[float, ...]) -> Iterator[Run]:
    for rate, seed in product(rates, SEEDS):
        yield Run(run.name, run.params, run.widths, rate, seed)


RUNS: list[Run] = list(
    dict.fromkeys(
        [
            *(r for run in EVERYWHERE for r in _with(run, rates=(1.0,))),
            *(r for run in (*SEGMENTS, *BOUNDS, *REDUCTIONS) for r in _with(run, rates=(1.0,))),
            *(r for run in EVERYWHERE for r in _with(run, rates=RATES)),
        ]
    )
)
"""All trainings, what is most telling first. Equal ones are one."""
