"""The table of trainings: every candidate of a small space, measured on several seeds.

Loads no torch: a simulation shall start as fast as the service that it tests.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.contract import read_plan
from search_space.spec import ActivationSpec, Candidate, SitePlan
from workers.errors import BadTable, NotInTable

BUILTIN = Path(__file__).with_name("mnist1d.npz")

Counts = NDArray[np.uint16]


@dataclass(frozen=True)
class Table:
    """Numbers of validation and test samples that each training got right.

    Attributes:
        validation: `(candidates, seeds, epochs)`, in the order of `candidates`.
        test: `(candidates, seeds)`, after the last epoch.
        about: How it was made: task, choices, plan, samples, versions, variances.
    """

    validation: Counts
    test: Counts
    about: Mapping[str, Any]

    @property
    def task(self) -> dict[str, Any]:
        """The task of the trainings, as a search states it."""
        return dict(self.about["task"])

    @property
    def epochs(self) -> int:
        return int(self.validation.shape[2])

    @property
    def seeds(self) -> int:
        return int(self.validation.shape[1])

    @cached_property
    def plan(self) -> SitePlan:
        return read_plan(self.about["plan"])

    @cached_property
    def candidates(self) -> tuple[tuple[int, ...], ...]:
        """Every candidate, as the index of its variant at each site."""
        return tuple(product(range(len(self.about["variants"])), repeat=len(self.plan.sites)))

    @cached_property
    def accuracy(self) -> NDArray[np.float64]:
        """Validation accuracies `(candidates, seeds, epochs)`."""
        return self.validation / float(self.about["validation_samples"])

    @cached_property
    def test_accuracy(self) -> NDArray[np.float64]:
        """Test accuracies `(candidates, seeds)`."""
        return self.test / float(self.about["test_samples"])

    def row(self, candidate: Candidate) -> int:
        """Return the index of a candidate. Raises `NotInTable`."""
        if any(value != 1 for value in _factors(candidate)):
            raise NotInTable(f"training {candidate.training}", "the recipe as it is")
        index = 0
        for site in self.plan.sites:
            index = index * len(self._variants) + self._variant(candidate.sites[site.id])
        return index

    @cached_property
    def _variants(self) -> dict[tuple[str, Any], int]:
        variants = self.about["variants"]
        return {(v["name"], v.get("segments")): index for index, v in enumerate(variants)}

    def _variant(self, spec: ActivationSpec) -> int:
        key = spec.name, spec.params.get("segments")
        if key not in self._variants:
            known = ", ".join(v["name"] for v in self.about["variants"])
            raise NotInTable(f"{spec.name} {dict(spec.params)}", known)
        return self._variants[key]


def load(path: Path = BUILTIN) -> Table:
    """Read a table. Raises `BadTable` if the file is not a table."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            return Table(file["validation"], file["test"], about)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise BadTable(path, str(error)) from error


def save(table: Table, path: Path) -> None:
    """Write a table, compressed."""
    about = json.dumps(dict(table.about))
    np.savez_compressed(path, validation=table.validation, test=table.test, about=about)


def variances(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the variance between candidates and the variance between seeds of one candidate.

    The variance between candidates is corrected for the noise that seeds leave in their means.

    Args:
        values: `(candidates, seeds)`.
    """
    between_seeds = float(values.var(axis=1, ddof=1).mean())
    of_means = float(values.mean(axis=1).var(ddof=1))
    return of_means - between_seeds / values.shape[1], between_seeds


def _factors(candidate: Candidate) -> tuple[float, float]:
    training = candidate.training
    return training.learning_rate_factor, training.activation_learning_rate_factor
