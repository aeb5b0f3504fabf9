"""What a network with each activation everywhere takes: a training step, and an inference.

All networks take turns, round by round, and what counts is the median over the rounds of the
ratio to ReLU's time in the same round: what else runs on the machine slows both.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import kernels
from search_space.apply import apply
from search_space.phases import switch
from search_space.sites import find_sites
from tests.benchmarks.evidence.plan import EVERYWHERE, TASK, WIDTHS, Run
from tests.benchmarks.evidence.progress import Steps
from workers.networks.small_cnn import SmallCNN

SECONDS = 180.0
FEWEST_ROUNDS = 5
_IMAGE = (1, 28, 28)
_CLASSES = 10
_REFERENCE = "ReLU"


def steps(_: Path) -> Steps:
    """Yield the one measurement."""
    yield "times", lambda _: measured(SECONDS)


def measured(seconds: float) -> dict[str, Any]:
    """Return the ratios of every network, with the quartiles of the rounds."""
    torch.set_num_threads(1)
    sides = {label: _sides(run) for label, run in EVERYWHERE.items() if run.widths == WIDTHS}
    rounds: list[dict[str, tuple[float, float]]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < FEWEST_ROUNDS or time.perf_counter() < end:
        rounds.append({label: (_timed(t), _timed(i)) for label, (t, i) in sides.items()})
    # The first round compiles, and fills caches.
    rounds = rounds[1:]
    return {
        "rounds": len(rounds),
        "batch": TASK["batch_size"],
        "milliseconds": [1000 * median(one[_REFERENCE][k] for one in rounds) for k in range(2)],
        "ratios": {label: [_ratios(rounds, label, k) for k in range(2)] for label in sides},
    }


def _ratios(rounds: list[dict[str, tuple[float, float]]], label: str, which: int) -> list[float]:
    """Return the quartiles of the ratio to the reference, round by round."""
    found = [one[label][which] / one[_REFERENCE][which] for one in rounds]
    return [round(quartile, 3) for quartile in quantiles(found, n=4)]


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _sides(run: Run) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a training step and an inference of a network, its phases over."""
    batch = int(TASK["batch_size"])
    x, y = torch.randn(batch, *_IMAGE), torch.randint(_CLASSES, (batch,))
    model = SmallCNN(_IMAGE[0], _CLASSES)
    sites = find_sites(model, x).sites
    fused = kernels.available("cpu")
    apply(model, {site.id: run.spec for site in sites}, x, fused=fused)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    _step(model, optimizer, x, y)
    switch(model, optimizer)

    def infer() -> None:
        model.eval()
        with torch.no_grad():
            model(x)
        model.train()

    return lambda: _step(model, optimizer, x, y), infer


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()
