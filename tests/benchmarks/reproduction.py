"""Which activation is better, on real data: the articles' comparisons, made again and judged.

    python -m tests.benchmarks.reproduction --progress FILE [--processes N] [--minutes M]
    python -m tests.benchmarks.reproduction --progress FILE --tables

Each training is one of a worker, with the same handle, loop, recipe, seeds and phases, but without
a service. What is done is noted in the progress file line by line, so that the job
may be killed and started again, and run in slices of M minutes. `--tables` prints, in Markdown,
what the trainings noted so far show. Needs ACTSEARCH_DATA_ROOT with FashionMNIST.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path

from tests.benchmarks.evidence.plan import RUNS, Run
from tests.benchmarks.evidence.rates import demanded
from tests.benchmarks.evidence.result import Result
from tests.benchmarks.evidence.tables import tables
from tests.benchmarks.evidence.trainer import Trainer

_trainer: Trainer


def main() -> None:
    """Train what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after so long; run again to go on")
    parser.add_argument("--tables", action="store_true", help="train nothing, print the tables")
    options = parser.parse_args()
    done = dict(_noted(options.progress))
    if options.tables:
        print(tables(done))  # noqa: T201
        return
    deadline = time.monotonic() + 60 * (options.minutes or float("inf"))
    while todo := missing(done):
        print(f"{len(todo)} trainings to do, {len(done)} are done")  # noqa: T201
        _train_all(todo, done, options, deadline)
        if time.monotonic() > deadline:
            break


def missing(done: Mapping[Run, Result]) -> list[Run]:
    """Return what is to be trained, as far as the results so far tell."""
    return [run for run in dict.fromkeys((*RUNS, *demanded(done))) if run not in done]


def _train_all(
    todo: list[Run], done: dict[Run, Result], options: argparse.Namespace, deadline: float
) -> None:
    home = options.progress.parent
    # Spawned: torch and a fork do not go together.
    with (
        get_context("spawn").Pool(options.processes, _start, (home,)) as pool,
        options.progress.open("a") as progress,
    ):
        for run, result in pool.imap_unordered(_train, todo):
            line = json.dumps({"run": run.as_data(), "result": result.as_data()})
            print(line, file=progress, flush=True)
            done[run] = result
            if time.monotonic() > deadline:
                break


def _start(home: Path) -> None:
    global _trainer
    os.nice(10)
    _trainer = Trainer(Path(os.environ["ACTSEARCH_DATA_ROOT"]), home / "cache")


def _train(run: Run) -> tuple[Run, Result]:
    return run, _trainer.train(run)


def _noted(progress: Path) -> Iterator[tuple[Run, Result]]:
    if not progress.is_file():
        return
    for line in progress.read_text().splitlines():
        # The last line may be cut short where the job was killed.
        if line.endswith("}}"):
            noted = json.loads(line)
            yield Run.from_data(noted["run"]), Result(**noted["result"])


if __name__ == "__main__":
    main()
