"""What is trained: networks with one activation everywhere, on five seeds each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_space.spec import ActivationSpec

TASK: dict[str, Any] = {
    "name": "image-classification",
    "dataset": "fashion-mnist",
    "network": "small-cnn",
    "epochs": 8,
    "batch_size": 64,
    "train_samples": 6000,
}
_CIFAR: dict[str, Any] = {
    "name": "image-classification",
    "dataset": "cifar10",
    "epochs": 30,
    "batch_size": 128,
}
TASKS = {
    str(task["network"]): task
    for task in (
        TASK,
        {**_CIFAR, "network": "resnet20"},
        {**_CIFAR, "network": "shufflenet-v2-0.5x"},
    )
}
"""By network. The first is the edition for CPUs, the others are that for a GPU."""

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
        widths: Channels of the blocks; of the small network alone.
        rate: Factor of the recipe's learning rate.
    """

    name: str
    params: tuple[tuple[str, Any], ...] = ()
    widths: tuple[int, ...] = WIDTHS
    rate: float = 1.0
    seed: int = 0
    network: str = "small-cnn"

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
            "network": self.network,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Run":
        params = tuple(data["params"].items())
        return Run(
            data["name"],
            params,
            tuple(data["widths"]),
            data["rate"],
            data["seed"],
            data.get("network", "small-cnn"),
        )


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
    # Controls: gates without a learned shape, a ReLU net as large as PWLU's, and a wide one.
    "ReLU, SE-gated": Run("se_relu"),
    "ReLU, as large as PWLU": Run("relu", widths=(17, 34, 66)),
    "ReLU, twice as wide": Run("relu", widths=(32, 64, 128)),
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


@dataclass(frozen=True, slots=True)
class Edition:
    """What is compared with each other, by the title of its table.

    Attributes:
        everywhere: Each activation everywhere; their rate is chosen, too.
        details: At the recipe's rate alone.
    """

    everywhere: Mapping[str, Mapping[str, Run]]
    details: Mapping[str, Mapping[str, Run]]

    @property
    def chosen(self) -> list[Run]:
        """The networks whose rate is chosen."""
        return [run for group in self.everywhere.values() for run in group.values()]

    def beforehand(self) -> list[Run]:
        """Return what is trained in any case, the most telling first, each once."""
        runs: list[Run] = []
        for group in (*self.everywhere.values(), *self.details.values()):
            for run in group.values():
                runs += trained(run, 1.0)
        for run in self.chosen:
            for rate in RATES:
                runs += trained(run, rate, CHOOSING_SEEDS)
        return list(dict.fromkeys(runs))


def _in(network: str) -> dict[str, Run]:
    """Return each activation everywhere in a network that is not widened."""
    runs = {label: run for label, run in EVERYWHERE.items() if run.widths == WIDTHS}
    return {label: replace(run, network=network) for label, run in runs.items()}


_RELU = {"ReLU": EVERYWHERE["ReLU"]}
EDITIONS = {
    "cpu": Edition(
        {"Each activation everywhere": EVERYWHERE},
        {
            "PWLU by number of segments": _RELU | SEGMENTS,
            "PWLU with fixed bounds [-X, X], and realigned": _RELU | BOUNDS,
            "Meta-ACON by reduction": _RELU | REDUCTIONS,
        },
    ),
    "gpu": Edition(
        {
            "Each activation everywhere in ResNet-20": _in("resnet20"),
            "Each activation everywhere in ShuffleNetV2 0.5x": _in("shufflenet-v2-0.5x"),
        },
        {},
    ),
}
