"""Make the table that the simulator answers from: every candidate of a space, on three seeds.

    python -m tests.benchmarks.make_table --progress FILE [--processes N] [--output FILE]

Each training is one of a worker, with the same handle, loop, seeds and phases, but without a
service. What is done is noted in the progress file line by line, so that the job may be killed
and started again. At the end the table is written, and the ratio of the variance between
candidates to that between seeds is printed.
"""

import argparse
import json
import os
from collections.abc import Iterator
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from search_space.contract import Assignment, TrialKind
from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from search_space.spec import Candidate, SitePlan, to_data
from workers.commands.local_attempt import LocalAttempt
from workers.simulation.table import BUILTIN, Table, save, variances

SEEDS = 3
VARIANTS: list[dict[str, Any]] = [
    {"name": "relu"},
    {"name": "silu"},
    {"name": "gelu"},
    {"name": "acon_c"},
    {"name": "pwlu", "segments": 4},
    {"name": "pwlu", "segments": 8},
    {"name": "pwlu", "segments": 16},
    {"name": "meta_acon"},
]
TASK = {
    "name": "sequence-classification",
    "dataset": "mnist-1d-large",
    "network": "mlp-1d",
    "epochs": 15,
}
CHOICES = ["relu", "silu", "gelu", "acon_c", {"name": "pwlu", "segments": [4, 8, 16]}, "meta_acon"]

Key = tuple[tuple[int, ...], int]


class Trainer:
    """Trains candidates in one process, which keeps the data."""

    def __init__(self, home: Path) -> None:
        import torch

        from search_space.sites import find_sites
        from workers.tasks.base import Place

        torch.set_num_threads(1)
        self.place = Place(home, home, threads=1)
        prepared = self.prepare(with_test=True)
        assert prepared.test is not None
        self.samples = len(prepared.validation), len(prepared.test)
        self.plan: SitePlan = find_sites(prepared.network, prepared.train.examples())
        self.space: Space = make_space(
            SearchSpec.model_validate(
                {"task": TASK, "sites": {"per": "layer"}, "choices": CHOICES}
            ),
            self.plan,
        )

    def prepare(self, *, with_test: bool) -> Any:
        from workers.tasks.sequence_classification import prepare

        cache = self.place.home / "cache"
        return prepare(TASK, self.place.data_root, cache=cache, with_test=with_test)

    def train(self, key: Key) -> tuple[list[int], int]:
        """Return the numbers of samples got right: of validation per epoch, and of test."""
        from workers.handle.seeds import derive
        from workers.handle.served import ServedTrial
        from workers.tasks.sequence_classification import run

        variants, seed = key
        assignment = Assignment(
            lease="table",
            token="",
            search="table",
            trial="table",
            number=None,
            kind=TrialKind.CONFIRMATION,
            attempt=1,
            lease_seconds=60,
            task=TASK,
            metric="validation_accuracy",
            candidate=self.candidate(variants),
            fingerprint=self.plan.fingerprint,
            seed=derive(seed, *variants),
        )
        attempt = LocalAttempt(assignment, self.place.home)
        settings = {name: value for name, value in TASK.items() if name != "name"}
        with ServedTrial(attempt) as trial:
            run(trial, settings, self.place)
        assert attempt.outcome is not None
        validation, test = self.samples
        accuracies = [report.metrics["validation_accuracy"] for report in attempt.reports]
        right = [round(accuracy * validation) for accuracy in accuracies]
        return right, round(attempt.outcome.test["test_accuracy"] * test)

    def candidate(self, variants: tuple[int, ...]) -> Candidate:
        params: dict[str, Any] = {}
        for group, variant in zip(self.space.groups, variants, strict=True):
            chosen = VARIANTS[variant]
            params[group.name] = chosen["name"]
            if "segments" in chosen:
                params[f"{group.name}/{chosen['name']}/segments"] = chosen["segments"]
        return self.space.candidate(params)


_trainer: Trainer


def _start(home: Path) -> None:
    global _trainer
    os.nice(10)
    _trainer = Trainer(home)


def _train(key: Key) -> tuple[Key, list[int], int]:
    right, test = _trainer.train(key)
    return key, right, test


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the simulator's table.")
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=BUILTIN)
    options = parser.parse_args()
    home = options.progress.parent
    keys = [
        (variants, seed)
        for seed in range(SEEDS)
        for variants in product(range(len(VARIANTS)), repeat=3)
    ]
    done = dict(_noted(options.progress))
    todo = [key for key in keys if key not in done]
    print(f"{len(done)} of {len(keys)} trainings are done")  # noqa: T201
    # Spawned: torch and a fork do not go together.
    with (
        get_context("spawn").Pool(options.processes, _start, (home,)) as pool,
        options.progress.open("a") as progress,
    ):
        for key, right, test in pool.imap_unordered(_train, todo):
            done[key] = right, test
            print(json.dumps([*key, right, test]), file=progress, flush=True)
    table = _table(Trainer(home), [done[key] for key in keys])
    save(table, options.output)
    print(f"variance between candidates / between seeds: {table.about['variance_ratio']}")  # noqa: T201


def _noted(progress: Path) -> Iterator[tuple[Key, tuple[list[int], int]]]:
    if not progress.is_file():
        return
    for line in progress.read_text().splitlines():
        # The last line may be cut short where the job was killed.
        if line.endswith("]"):
            variants, seed, right, test = json.loads(line)
            yield (tuple(variants), seed), (right, test)


def _table(trainer: Trainer, results: list[tuple[list[int], int]]) -> Table:
    import torch

    shape = SEEDS, len(VARIANTS) ** len(trainer.plan.sites)
    right = np.array([r for r, _ in results], dtype=np.uint16).reshape(*shape, -1).swapaxes(0, 1)
    test = np.array([t for _, t in results], dtype=np.uint16).reshape(shape).T
    validation_samples, test_samples = trainer.samples
    candidates, seeds = variances(right[:, :, -1] / validation_samples)
    about = {
        "task": TASK,
        "choices": CHOICES,
        "variants": VARIANTS,
        "plan": to_data(trainer.plan),
        "validation_samples": validation_samples,
        "test_samples": test_samples,
        "variance_between_candidates": candidates,
        "variance_between_seeds": seeds,
        "variance_ratio": round(candidates / seeds, 2),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "made_by": "python -m tests.benchmarks.make_table",
    }
    return Table(right, test, about)


if __name__ == "__main__":
    main()
