"""What a worker's slots do with their time, against a plain script that trains the same trials.

    python -m tests.benchmarks.slots [--quick] [--slots 1 2 4]

For every number of slots `actsearch up` is started as a user would, and is given a search by grid,
so that each run trains the same trials. All times are those that the service has stored: of leases,
reports and last words.

`idle` is the time of a slot from a trial's last word to the lease of its next one; the target is
0.3 s on a CPU. `start` is the time from the lease to the first step: a trial's first epoch less
the mean of its others. `end` is the time from the last report to the last word, in which
weights and curves are uploaded. Trials per hour go from the first lease to the last word.

The plain script is one process that has everything loaded: `study.optimize` with Optuna's own grid
over the same candidates, which trains them by the same loop, and stores, reports and measures
nothing.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch

from search_space.apply import parameter_groups
from service.client.client import Client
from tests.benchmarks.training import Handle
from workers.agent.machine import machine_resources
from workers.tasks.base import Place
from workers.tasks.image_classification import TASK
from workers.tasks.loading import target_of

TARGET = 0.3
CORES = machine_resources().cores
NETWORK = {"dataset": "digits", "network": "small-cnn", "epochs": 8, "batch_size": 64}
CHOICES: Sequence[str] = ("relu", "silu", "acon_c", "pwlu")
FACTORS: Sequence[float] = (0.3, 1.0, 3.0)

_ATTEMPTS = """
SELECT a.worker_id || ' ' || a.slot, a.started_at, a.ended_at, t.id
FROM attempts a JOIN trials t ON t.id = a.trial_id
WHERE t.kind != 'inspection' AND a.outcome = 'completed' ORDER BY a.started_at
"""
_REPORTS = "SELECT created_at FROM reports WHERE trial_id = ? ORDER BY step"


@dataclass(frozen=True)
class Work:
    """One trial as the service has stored it; times in seconds.

    Attributes:
        reports: When each epoch was reported.
    """

    slot: str
    began: float
    ended: float
    reports: Sequence[float]

    @property
    def start(self) -> float:
        epochs = [later - earlier for earlier, later in pairwise(self.reports)]
        return self.reports[0] - self.began - statistics.mean(epochs)

    @property
    def end(self) -> float:
        return self.ended - self.reports[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials of two epochs, to try it")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    task = NETWORK | ({"epochs": 2} if options.quick else {})
    candidates = list(product(CHOICES, (1.0,) if options.quick else FACTORS))
    trials = f"{len(candidates)} trials of {task['epochs']} epochs"
    say(f"{task['network']} on {task['dataset']}, {trials}, {CORES} cores\n")
    say("| | threads | idle p50 | idle most | start | end | trials per hour | ratio |")
    say("|---|---:|---:|---:|---:|---:|---:|---:|")
    plain = per_hour(len(candidates), plain_script(task, candidates))
    say(f"| plain `study.optimize` | {torch.get_num_threads()} | | | | | {plain:,.0f} | 1 |")
    worst = max(measure(slots, task, candidates, plain) for slots in options.slots)
    say(f"\nIdle at most {worst:.3f} s: {worst / TARGET:.2f} of the target of {TARGET} s.")


def measure(
    slots: int, task: dict[str, Any], candidates: Sequence[tuple[str, float]], plain: float
) -> float:
    """Print what the slots did, and return the longest time that one was idle."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        with running_up(home, "--slots", str(slots)) as url, Client(url) as client:
            search(client, task, candidates, parallel=slots)
        works = list(stored(home / "actsearch.db"))
    assert len(works) == len(candidates), f"{len(works)} of {len(candidates)} trials completed"
    gaps = list(idle(works))
    seconds = max(work.ended for work in works) - min(work.began for work in works)
    rate = per_hour(len(works), seconds)
    threads = max(1, CORES // slots)
    start, end = (statistics.median(getattr(w, part) for w in works) for part in ("start", "end"))
    say(
        f"| {slots} slots | {threads} | {statistics.median(gaps):.3f} s | {max(gaps):.3f} s "
        f"| {start:.2f} s | {end:.2f} s | {rate:,.0f} | {rate / plain:.2f} |"
    )
    return max(gaps)


@contextmanager
def running_up(home: Path, *options: str) -> Iterator[str]:
    """Run the service and its worker on a free port, and yield the URL."""
    command = [sys.executable, "-P", "-m", "service.cli", "up", "--json", "--exit-with-stdin"]
    folders = ["--home", str(home), "--port", "0"]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(
            [*command, *folders, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (home / "log").read_text()
        try:
            yield json.loads(line)["url"]
        finally:
            process.stdin.close()


def search(
    client: Client,
    task: dict[str, Any],
    candidates: Sequence[tuple[str, float]],
    *,
    parallel: int,
) -> None:
    """Train every candidate once: that of the original is its only baseline."""
    factors = sorted({factor for _, factor in candidates})
    document = {
        "task": {"name": TASK.offer.name, **task},
        "sites": {"per": "network"},
        "choices": list(CHOICES),
        "hyperparameters": {"learning_rate_factor": factors},
        "sampler": {"name": "grid"},
        "pruner": {"name": "none"},
        "baselines": {"original_seeds": 1, "uniform": False},
        "budget": {"trials": len(candidates)},
        "replicates": {"share": 0},
        "parallel": parallel,
        "confirm": None,
    }
    found = client.submit(document).wait(progress=False)
    assert found.state == "completed", found.reason


def stored(database: Path) -> Iterator[Work]:
    with closing(sqlite3.connect(database)) as store:
        for slot, began, ended, trial in store.execute(_ATTEMPTS).fetchall():
            reports = [at for (at,) in store.execute(_REPORTS, (trial,))]
            yield Work(slot, began, ended, reports)


def idle(works: Sequence[Work]) -> Iterator[float]:
    """Yield the time between the trials of every slot."""
    for slot in {work.slot for work in works}:
        own = sorted((w for w in works if w.slot == slot), key=lambda work: work.began)
        yield from (later.began - earlier.ended for earlier, later in pairwise(own))


def plain_script(task: dict[str, Any], candidates: Sequence[tuple[str, float]]) -> float:
    """Train the candidates by `study.optimize` in this process, and return how long it took."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    activations = sorted({activation for activation, _ in candidates})
    factors = sorted({factor for _, factor in candidates})
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), Path(folder), threads=torch.get_num_threads())

        def train(activation: str, factor: float, settings: dict[str, Any]) -> float:
            handle = Scaled(activation, factor)
            target_of(TASK)(handle, settings, place)
            return handle.metrics["validation_accuracy"]

        def objective(trial: optuna.Trial) -> float:
            activation = trial.suggest_categorical("activation", activations)
            factor = trial.suggest_categorical("factor", factors)
            torch.manual_seed(trial.number)
            return train(activation, factor, task)

        for activation in activations:
            # Its kernel is compiled, as a worker's are before its first trial.
            train(activation, 1.0, task | {"epochs": 1})
        grid: dict[str, Sequence[str | float]] = {"activation": activations, "factor": factors}
        study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid, seed=0))
        start = time.monotonic()
        study.optimize(objective, n_trials=len(candidates))
        return time.monotonic() - start


class Scaled(Handle):
    """Trains with a factor of the learning rate."""

    def __init__(self, activation: str, factor: float) -> None:
        super().__init__(activation)
        self._factor = factor

    def parameter_groups(
        self, model: torch.nn.Module, *, lr: float, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        return parameter_groups(model, lr=lr * self._factor, weight_decay=weight_decay)


def per_hour(trials: int, seconds: float) -> float:
    return trials / seconds * 3600


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
