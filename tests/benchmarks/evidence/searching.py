"""Searches through a real service and a real worker: ours, at random, and of the rate alone.

Each has the same number of trainings, baselines among them. What a search calls best is judged
on test data by trainings on fresh seeds, the same for all.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from search_space.spec import ActivationConfig, to_data
from service.schemas.states import SearchState
from service.schemas.trials import TrialAnswer
from tests.benchmarks.evidence.judging import original, sites_of, tested
from tests.benchmarks.evidence.progress import Steps
from tests.system.machine import Machine

TASK = {
    "name": "sequence-classification",
    "dataset": "mnist-1d-large",
    "network": "mlp-1d",
    "epochs": 15,
    "batch_size": 128,
}
CHOICES = [
    "relu",
    "silu",
    "gelu",
    "acon_c",
    {"name": "pwlu", "segments": [4, 8, 16]},
    "meta_acon",
]
TRAININGS = 30
REPETITIONS = 3
SEEDS = range(8)
_LOGGED = 4000

_SPACE = {
    "task": TASK,
    "sites": {"per": "layer"},
    "hyperparameters": {"learning_rate_factor": {"low": 0.3, "high": 3.0, "log": True}},
    "parallel": 1,
    "confirm": None,
}
# The original on three seeds, and five uniform networks that are another one.
_OURS = {"choices": CHOICES, "budget": {"trials": TRAININGS - 8}}
_RANDOM = {
    "choices": CHOICES,
    "pruner": {"name": "none"},
    "replicates": {"share": 0.0},
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": TRAININGS - 1},
}
_RATE = {"choices": ["relu"], "budget": {"trials": TRAININGS - 3}}
WAYS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ours": ("tpe", _OURS),
    "random": ("random", _RANDOM),
    "rate": ("tpe", _RATE),
}


def steps(home: Path) -> Steps:
    """Yield every search, and the original to compare with."""

    def searched(document: Mapping[str, Any]) -> Callable[[object], dict[str, Any]]:
        return lambda _: _searched_and_judged(document, home)

    yield "original", lambda _: _judged_original(home)
    for repetition in range(REPETITIONS):
        for way, (sampler, rest) in WAYS.items():
            document = {**_SPACE, **rest, "sampler": {"name": sampler, "seed": repetition}}
            yield f"{way} {repetition}", searched(document)


def search(document: Mapping[str, Any]) -> tuple[ActivationConfig, dict[str, Any]]:
    """Run a search in processes of its own; return its best config and its export."""
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder), environment={"ACTSEARCH_LEASE_SECONDS": "120"})
        try:
            machine.serve()
            # One trial at a time; with a single slot it would have all cores, and share them.
            machine.worker(slots=2)
            began = time.monotonic()
            found = machine.client.submit(document)
            while (state := machine.client.get(found.id).state) != SearchState.COMPLETED:
                assert state not in (SearchState.FAILED, SearchState.PAUSED), state
                time.sleep(1)
            seconds = time.monotonic() - began
            config = machine.client.best_config(found.id, unconfirmed=True)
            trials = [_export(trial) for trial in machine.client.trials(found.id)]
        except Exception as error:
            # The folder goes, and the log with it.
            error.add_note(machine.log("service")[-_LOGGED:])
            raise
        finally:
            machine.close()
    trained = [trial for trial in trials if trial["epochs"]]
    return config, {
        "document": dict(document),
        "seconds": round(seconds, 1),
        "trainings": len(trained),
        "epochs": sum(trial["epochs"] for trial in trained),
        "best": to_data(config.candidate),
        "trials": trials,
    }


def _searched_and_judged(document: Mapping[str, Any], home: Path) -> dict[str, Any]:
    config, export = search(document)
    test = [tested(TASK, config.candidate, config.plan, seed, home) for seed in SEEDS]
    return {"test": test, "search": export}


def _judged_original(home: Path) -> dict[str, Any]:
    plan = sites_of(TASK, home)
    return {"test": [tested(TASK, original(plan), plan, seed, home) for seed in SEEDS]}


def _export(trial: TrialAnswer) -> dict[str, Any]:
    """Return what matters of a trial; a repeat was not trained and has no epochs of its own."""
    candidate = trial.candidate or {"sites": {}, "training": {}}
    return {
        "number": trial.number,
        "kind": trial.kind.value,
        "label": trial.label,
        "state": trial.state.value,
        "value": trial.value,
        "epochs": 0 if trial.repeat_of else trial.step or 0,
        "repeat_of": trial.repeat_of is not None,
        "replicate": trial.replicate_of is not None,
        "sites": [_named(spec) for spec in candidate["sites"].values()],
        "rate": candidate["training"].get("learning_rate_factor"),
    }


def _named(spec: Mapping[str, Any]) -> str:
    params = "".join(f" {value}" for value in spec.get("params", {}).values())
    return f"{spec['name']}{params}"
