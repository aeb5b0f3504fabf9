"""Which activation is better, on real data: the articles' comparisons, made again and judged.

    python -m tests.benchmarks.reproduction --progress FILE [--edition gpu] [--minutes M]
    python -m tests.benchmarks.reproduction --progress FILE [--edition gpu] --tables
    python -m tests.benchmarks.reproduction --progress FILE --part search|transfer|times

Each training is one of a worker, with the same handle, loop, recipe, seeds and phases, but without
a service; searches run through real processes of both. What is done is noted in the progress file
line by line, so that the job may be killed and started again, and run in slices of M minutes.
`--tables` prints, in Markdown, what the trainings noted so far show. Needs ACTSEARCH_DATA_ROOT
with FashionMNIST; the edition for a GPU with CIFAR-10, as `cifar10/plain_text/*.parquet`.
"""

import argparse
import os
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.evidence import progress, searching, timing, transferring
from tests.benchmarks.evidence.plan import EDITIONS, Run
from tests.benchmarks.evidence.rates import missing
from tests.benchmarks.evidence.result import Result
from tests.benchmarks.evidence.tables import tables
from tests.benchmarks.evidence.trainer import Trainer

_STEPS = {"search": searching.steps, "transfer": transferring.steps, "times": timing.steps}

_trainer: Trainer


def main() -> None:
    """Train what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after so long; run again to go on")
    parser.add_argument("--edition", choices=EDITIONS, default="cpu")
    parser.add_argument("--part", choices=("everywhere", *_STEPS), default="everywhere")
    parser.add_argument("--tables", action="store_true", help="train nothing, print the tables")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * (options.minutes or float("inf"))
    if options.part in _STEPS:
        home = options.progress.resolve().parent
        steps = _STEPS[options.part](home)
        progress.do(steps, options.progress, until=lambda: time.monotonic() > deadline)
        return
    done, edition = dict(noted(options.progress)), EDITIONS[options.edition]
    if options.tables:
        for title, table in tables(done, edition).items():
            print(f"## {title}\n\n{table}")  # noqa: T201
        return
    while todo := missing(done, edition):
        print(f"{len(todo)} trainings to do, {len(done)} are done")  # noqa: T201
        _train_all(todo, done, options, deadline)
        if time.monotonic() > deadline:
            break


def _train_all(
    todo: list[Run], done: dict[Run, Result], options: argparse.Namespace, deadline: float
) -> None:
    home = options.progress.parent
    # Spawned: torch and a fork do not go together.
    with get_context("spawn").Pool(options.processes, _start, (home,)) as pool:
        for run, result in pool.imap_unordered(_train, todo):
            progress.add({"run": run.as_data(), "result": result.as_data()}, options.progress)
            done[run] = result
            if time.monotonic() > deadline:
                break


def _start(home: Path) -> None:
    global _trainer
    os.nice(10)
    _trainer = Trainer(Path(os.environ["ACTSEARCH_DATA_ROOT"]), home / "cache")


def _train(run: Run) -> tuple[Run, Result]:
    return run, _trainer.train(run)


def noted(file: Path) -> Iterator[tuple[Run, Result]]:
    """Yield the trainings that a file of progress has."""
    for line in progress.lines(file):
        yield Run.from_data(line["run"]), Result(**line["result"])


if __name__ == "__main__":
    main()
