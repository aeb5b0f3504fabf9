"""The searches of the stored database, each in another state when the service stops."""

from typing import Any

from tests.support.golden.trainer import OldTrainer
from tests.support.player import HasHttp, plan

SPACE: dict[str, Any] = {
    "choices": [
        "relu",
        "silu",
        "gelu",
        {"name": "pwlu", "segments": [4, 8], "share": ["channel", "layer"]},
        {"name": "meta_acon", "reduction": [2, 4]},
    ],
    "hyperparameters": {"learning_rate_factor": {"low": 0.3, "high": 3, "log": True}},
    "sites": {"per": "layer"},
    "baselines": {"original_seeds": 2, "uniform": True},
}
SMALL = {"choices": ["relu", "silu", "gelu"], "hyperparameters": {}}


def make_all(served: HasHttp) -> None:
    """Submit every search and bring it to the state that it is stored in."""
    body = {"name": "old script", "scopes": ["read"]}
    served.http.post("/tokens", json=body).raise_for_status()
    first = _confirmed(served)
    _noise(served)
    _warm(served, first)
    _fork(served, _cancelled(served))
    _several(served)
    _paused(served)
    _failed(served)
    _preparing(served)
    _middle(served)


def submit(trainer: OldTrainer, name: str, **changes: Any) -> str:
    """Submit a search of the trainer's task; return its id."""
    [offered] = trainer.manifest["tasks"]
    given = {"name": offered["name"], "dataset": "digits", "network": "small-cnn"}
    return str(trainer.submit(name=name, task=given, **SPACE | changes)["id"])


def run_to_the_end(trainer: OldTrainer, search: str) -> None:
    while trainer.search(search)["state"] != "completed":
        trainer.run(trainer.work(wait=30))


def _confirmed(served: HasHttp) -> str:
    """A search with a real gain, extended once: test data were looked at twice."""
    trainer = OldTrainer(served, "first")
    search = submit(
        trainer,
        "confirmed",
        sampler={"name": "tpe", "seed": 3},
        pruner={"name": "asha", "run_on": 0.4},
        replicates={"share": 0.2},
        budget={"trials": 12},
        confirm={"shortlist": 2, "seeds": 3},
    )
    trainer.inspect(plan(3))
    for number in range(3):
        assignment = trainer.work(wait=30)
        trainer.store(assignment, "weights.safetensors", f"weights of trial {number}")
        trainer.run(assignment)
    run_to_the_end(trainer, search)
    changed = trainer.http.patch(f"/searches/{search}", json={"budget": {"trials": 14}})
    assert changed.raise_for_status().json()["state"] == "running"
    run_to_the_end(trainer, search)
    return search


def _noise(served: HasHttp) -> None:
    """A search without a gain, whose confirmation says so."""
    trainer = OldTrainer(served, "second", gain=0)
    search = submit(
        trainer,
        "noise",
        **SMALL,
        sampler={"name": "qmc", "seed": 1},
        pruner={"name": "median"},
        budget={"trials": 6},
        confirm={"shortlist": 1, "seeds": 2},
    )
    trainer.inspect(plan(3))
    run_to_the_end(trainer, search)


def _warm(served: HasHttp, first: str) -> None:
    """A search that begins with an earlier one's results and has trained a few of its own."""
    trainer = OldTrainer(served, "first")
    submit(
        trainer,
        "warm",
        sampler={"name": "tpe", "seed": 5},
        pruner={"name": "hyperband"},
        warm_start={"search": first},
        budget={"trials": 8},
    )
    trainer.inspect(plan(3))
    for _ in range(10):
        trainer.run(trainer.work(wait=30))


def _cancelled(served: HasHttp) -> str:
    """A search that was cancelled while one trial ran and others waited."""
    trainer = OldTrainer(served, "third")
    search = submit(
        trainer, "cancelled", sampler={"name": "random", "seed": 2}, pruner={"name": "asha"}
    )
    trainer.inspect(plan(3))
    for _ in range(3):
        trainer.run(trainer.work(wait=30))
    last = trainer.work(wait=30)
    trainer.http.post(f"/searches/{search}/cancel").raise_for_status()
    trainer.run(last)
    assert trainer.search(search)["state"] == "cancelled"
    return search


def _fork(served: HasHttp, parent: str) -> None:
    """A fork with another sampler, which has trained nothing of its own."""
    edits = {"name": "fork", "sampler": {"name": "random", "seed": 9}, "budget": {"trials": 5}}
    served.http.post(f"/searches/{parent}/fork", json=edits).raise_for_status()
    OldTrainer(served, "third").inspect(plan(3))


def _several(served: HasHttp) -> None:
    """Two objectives and a constraint, past the first generation of NSGA-II."""
    trainer = OldTrainer(served, "fourth")
    submit(
        trainer,
        "several",
        objective=[
            {"metric": "validation_accuracy", "direction": "maximize"},
            {"metric": "latency_ratio", "direction": "minimize"},
        ],
        constraints={"latency_ratio": 1.25},
        sampler={"name": "nsga2", "seed": 4},
        replicates={"share": 0},
        budget={"trials": 24},
    )
    trainer.inspect(plan(3))
    for _ in range(22):
        trainer.run(trainer.work(wait=30))


def _paused(served: HasHttp) -> None:
    """A paused search with a trial that was released with its checkpoint."""
    trainer = OldTrainer(served, "fifth")
    search = submit(
        trainer,
        "paused",
        sampler={"name": "qmc", "seed": 7},
        pruner={"name": "median"},
        budget={"trials": 12},
    )
    trainer.inspect(plan(3))
    for _ in range(13):
        trainer.run(trainer.work(wait=30))
    last = trainer.work(wait=30)
    trainer.tell(last, 1)
    trainer.http.post(f"/searches/{search}/pause").raise_for_status()
    trainer.store(last, "checkpoint.safetensors", "after the second epoch")
    assert trainer.run(last, first=2) == "released"


def _failed(served: HasHttp) -> None:
    """A search whose patterns match no site."""
    trainer = OldTrainer(served, "sixth")
    search = submit(trainer, "failed", sites={"include": "layer9*"})
    trainer.inspect(plan(3))
    assert trainer.search(search)["state"] == "failed"


def _preparing(served: HasHttp) -> None:
    """A search whose network nobody has inspected."""
    submit(OldTrainer(served, "seventh"), "preparing", **SMALL, budget={"trials": 2})


def _middle(served: HasHttp) -> None:
    """A search with trials in every state, one of them running under a lease."""
    trainer = OldTrainer(served, "eighth")
    search = submit(
        trainer,
        "middle",
        sampler={"name": "tpe", "seed": 11},
        pruner={"name": "asha", "run_on": 0.2},
        replicates={"share": 0.1},
        budget={"trials": 26},
        confirm={"shortlist": 2, "seeds": 2},
    )
    trainer.inspect(plan(3))
    for _ in range(22):
        trainer.run(trainer.work(wait=30))
    running, released = trainer.work(wait=30), trainer.work(wait=30)
    trainer.print(running, "epoch 1 of 4\n")
    for assignment in (running, released):
        trainer.measure(assignment)
        trainer.tell(assignment, 1)
    trainer.store(released, "checkpoint.safetensors", "after the first epoch")
    assert trainer.end(released, "released", message="the machine is needed").status_code == 204
    sites = {"block0.act": "silu", "block1.act": "gelu", "block2.act": "relu"}
    url = f"/searches/{search}/trials"
    trainer.http.post(url, json={"candidate": {"sites": sites}}).raise_for_status()
