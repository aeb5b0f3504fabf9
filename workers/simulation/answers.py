"""The task that simulated workers offer, and the results that they report for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search_space.contract import Assignment, TaskOffer, TrialKind, test_metric
from search_space.spec import Candidate
from workers.errors import NotInTable
from workers.simulation.table import Table, variances

METRIC = "validation_accuracy"
PREFIX = "simulated-"
"""Starts the task's name, so that no real search gets the numbers of a simulation."""


def offer(table: Table) -> TaskOffer:
    """Return the one task of a simulated worker: that of the table, with its settings fixed."""
    task = table.task
    name = task.pop("name")
    epochs = {"type": "integer", "minimum": 1, "maximum": table.epochs, "default": table.epochs}
    fixed = {key: {"enum": [value]} for key, value in task.items() if key != "epochs"}
    return TaskOffer(
        name=f"{PREFIX}{name}",
        description="Answers from a table of trainings that were done before; trains nothing.",
        settings={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {**fixed, "epochs": epochs},
            "additionalProperties": False,
        },
        metrics={METRIC: "maximize"},
    )


class Answers:
    """Looks trials up in a table. A trial's number selects one of the measured seeds.

    So the baseline trainings, which come first, get different seeds, and their spread is real.

    Confirmations need more seeds than were measured: their test result is the candidate's mean
    over the measured seeds plus a normal deviate with the standard deviation over seeds.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._spread = float(np.sqrt(variances(table.test_accuracy)[1]))

    def curve(self, assignment: Assignment) -> Sequence[float]:
        """Return the value after each epoch of the trial. Raises `NotInTable`."""
        epochs = assignment.task.get("epochs", self._table.epochs)
        if epochs > self._table.epochs:
            raise NotInTable(f"training of {epochs} epochs", f"{self._table.epochs} of them")
        row = self._table.row(_candidate(assignment))
        curve: list[float] = self._table.accuracy[
            row, (assignment.number or 0) % self._table.seeds
        ].tolist()
        return curve[:epochs]

    def test(self, assignment: Assignment) -> Mapping[str, float]:
        """Return the metrics on test data, which only a confirmation has."""
        if assignment.kind is not TrialKind.CONFIRMATION:
            return {}
        row = self._table.row(_candidate(assignment))
        mean = self._table.test_accuracy[row].mean()
        # Networks of a confirmation share their seeds, and what a seed does to one of them is not
        # known: here it does to each something of its own.
        deviate = np.random.default_rng([assignment.seed, row]).standard_normal()
        return {test_metric(METRIC): float(np.clip(mean + self._spread * deviate, 0, 1))}


def _candidate(assignment: Assignment) -> Candidate:
    assert assignment.candidate is not None
    return assignment.candidate


def activations(table: Table) -> list[str]:
    """Return the names of the activations in the table."""
    variants: Sequence[Mapping[str, Any]] = table.about["variants"]
    return list(dict.fromkeys(str(variant["name"]) for variant in variants))
