"""Trials that use too much memory, crash or never end: each ends alone, and its slot lives on."""

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.slow

_TASK = """
import json, os, signal
import torch
from torch import nn
from search_space.contract import TaskOffer
from workers.tasks.base import FunctionTask

OFFER = TaskOffer(name="misbehaving", settings={}, metrics={"validation_accuracy": "maximize"})
TASK = FunctionTask(OFFER, "misbehaving:run")
MIB = 2**20

def run(t, settings, place):
    x = torch.ones(2, 4)
    model = t.apply(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), x)
    optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.1))
    with open(os.environ["ACTSEARCH_LEASE_FILE"]) as file:
        (site,) = json.load(file)["assignment"]["candidate"]["sites"].values()
    hog = None
    for epoch in t.epochs(2, model, optimizer):
        match site["name"]:
            case "silu" if hog is None:
                hog = b"x" * (600 * MIB // t.micro_batches)
                while t.micro_batches == 1:
                    signal.pause()
            case "gelu":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "tanh":
                signal.pause()
            case "mish":
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory")
        model(x).sum().backward()
        optimizer.step()
        t.report(epoch, validation_accuracy=0.5)
"""
SEARCH = {
    "task": {"name": "misbehaving"},
    "choices": ["silu", "gelu", "tanh", "mish", "softplus"],
    "sampler": {"name": "grid"},
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 5},
    "pruner": {"name": "none"},
    "parallel": 1,
    "timeout": 10,
    "confirm": None,
}


def test_a_trial_that_misbehaves_ends_with_its_class_and_the_next_one_runs(
    machine: Machine,
) -> None:
    (machine.folder / "misbehaving.py").write_text(_TASK)
    machine.serve()
    worker = machine.worker("--load", "misbehaving.py", "--memory-per-trial", "0.5", slots=1)
    search = machine.client.submit(SEARCH)
    machine.wait(search.id)

    ended = {}
    for trial in machine.trials(search.id):
        (site,) = trial["candidate"]["sites"].values()
        reason = (trial["reason"] or "").partition("\n")[0]
        ended[site["name"]] = (trial["state"], trial["failure"], trial["attempt"], reason)
    assert ended == {
        "relu": ("completed", None, 1, ""),
        "softplus": ("completed", None, 1, ""),
        # The second attempt computes in halves, and fits.
        "silu": ("completed", None, 2, ""),
        "gelu": ("failed", "user_error", 1, "the process was ended by SIGSEGV"),
        "tanh": ("failed", "timeout", 1, "took longer than the timeout of 10 s"),
        "mish": (
            "failed",
            "out_of_memory",
            2,
            "RuntimeError: [enforce fail at alloc_cpu.cpp] can't allocate memory",
        ),
    }
    assert "the trial used" in machine.log("worker-1")
    assert "of --memory-per-trial" in machine.log("worker-1")
    assert worker.poll() is None, "the worker lives on"
