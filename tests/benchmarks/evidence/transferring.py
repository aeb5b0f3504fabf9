"""Activations found on ResNet-20, put into deeper networks by depth."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_space.contract import read_candidate, read_plan
from search_space.spec import ActivationConfig, to_data
from search_space.transfer import transfer
from tests.benchmarks.evidence.judging import original, sites_of, tested
from tests.benchmarks.evidence.progress import Steps
from tests.benchmarks.evidence.searching import CHOICES, search

TASK = {
    "name": "image-classification",
    "dataset": "digits",
    "network": "resnet20",
    "epochs": 8,
    "batch_size": 64,
}
NETWORKS = ("resnet20", "resnet32", "resnet56")
SEEDS = range(5)

# The original on three seeds, five uniform networks, and the proposals.
SEARCH = {
    "task": TASK,
    "sites": {"per": "stage"},
    "choices": CHOICES,
    "budget": {"trials": 12},
    "parallel": 1,
    "confirm": None,
}


def steps(home: Path) -> Steps:
    """Yield the search, then each network with its own activations and with those it found."""

    def trained(
        network: str, kind: str, seed: int
    ) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        return lambda done: _trained(done, network, kind, seed, home)

    yield "search", lambda _: _searched()
    for network in NETWORKS:
        for seed in SEEDS:
            for kind in ("original", "transferred"):
                yield f"{network} {kind} {seed}", trained(network, kind, seed)


def _searched() -> dict[str, Any]:
    config, export = search(SEARCH)
    return {"search": export, "config": to_data(config)}


def _trained(
    done: Mapping[str, Any], network: str, kind: str, seed: int, home: Path
) -> dict[str, Any]:
    task = {**TASK, "network": network}
    plan = sites_of(task, home)
    candidate = original(plan)
    if kind == "transferred":
        candidate = transfer(_config(done["search"]["config"]), plan, "depth").candidate
    return {"test": tested(task, candidate, plan, seed, home)}


def _config(data: Mapping[str, Any]) -> ActivationConfig:
    return ActivationConfig(
        candidate=read_candidate(data["candidate"]),
        task=data["task"],
        plan=read_plan(data["plan"]),
        fingerprint=data["fingerprint"],
    )
