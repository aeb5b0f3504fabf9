"""Whole searches by simulated workers, over real HTTP."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from tests.support.invariants import broken, spent
from tests.support.serving import Served
from tests.support.tables import TASK, VARIANTS, fleet, invented
from tests.system.machine import Machine
from workers.simulation.table import save

FULL = "ACTSEARCH_FULL_SIMULATION"
SEARCH: dict[str, Any] = {
    "task": {"name": TASK},
    "sites": {"per": "layer"},
    "choices": VARIANTS,
    "budget": {"trials": 30},
    "parallel": 8,
    "confirm": None,
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path, lease_seconds=3)
    yield served
    served.close()


def run(served: Served, search: dict[str, Any], seconds: float = 120) -> dict[str, Any]:
    """Submit a search and wait until it has ended."""
    answer = served.http.post("/searches", json=search)
    assert answer.status_code == 201, answer.text
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = dict(served.http.get(f"/searches/{answer.json()['id']}").json())
        if found["state"] in ("completed", "failed", "paused", "cancelled"):
            assert found["state"] == "completed", found["reason"]
            return found
        time.sleep(0.1)
    raise AssertionError(f"not ended within {seconds} s: {found['state']} {found['counts']}")


@pytest.mark.slow
def test_a_search_ends_with_the_values_of_the_table(served: Served) -> None:
    table = invented(gain=0.03)
    with fleet(served.url, table, workers=8) as running:
        found = run(served, SEARCH | {"pruner": {"name": "none"}})
    url = f"/searches/{found['id']}/trials"
    trials = served.http.get(url, params={"limit": 500}).json()["items"]
    trained = [trial for trial in trials if trial["attempt"] == 1]
    assert len(trained) == 30 + 3 + len(VARIANTS) - 1
    last = {round(value, 6) for value in table.accuracy[:, :, -1].ravel().tolist()}
    assert {round(trial["value"], 6) for trial in trained} <= last
    assert running.tally().trainings == len(trained) + 1
    assert broken(served.core.database.engine, found["id"]) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "status"), [(0.04, "confirmed"), (0.0, "noise")])
def test_a_real_gain_is_confirmed_and_none_is_not(served: Served, gain: float, status: str) -> None:
    # One trial after another, so that the numbers are the same every time.
    few = SEARCH | {"choices": VARIANTS[:4], "budget": {"trials": 12}, "parallel": 1}
    for seed in range(3):
        confirm = {"shortlist": 2, "seeds": 8}
        search = few | {"confirm": confirm, "sampler": {"name": "tpe", "seed": seed}}
        with fleet(served.url, invented(gain=gain, seed=seed), workers=1):
            found = run(served, search)
            best = served.http.get(f"/searches/{found['id']}/best").json()
        assert best["status"] == status, best["claim"]


def editions() -> list[Any]:
    """Return (sampler, trials, workers, kills of the service): the quick, or the full ones."""
    if os.environ.get(FULL):
        return [("random", 10_000, 256, 6), ("tpe", 1_000, 256, 6)]
    return [("random", 150, 24, 2), ("tpe", 80, 24, 2)]


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(("sampler", "budget", "workers", "kills"), editions())
def test_kills_of_workers_and_of_the_service_break_nothing(
    machine: Machine, sampler: str, budget: int, workers: int, kills: int
) -> None:
    path = machine.folder / "table.npz"
    save(invented(gain=0.03, sites=5), path)
    service = machine.serve()
    machine.simulate(path, "--kill-rate", "0.004", "--drop-rate", "0.02", workers=workers)
    search = machine.client.submit(
        SEARCH | {"sampler": {"name": sampler}, "budget": {"trials": budget}, "parallel": workers}
    ).id
    engine = create_engine(f"sqlite:///{machine.folder / 'service' / 'actsearch.db'}")
    dice = random.Random(sampler)
    for kill in range(kills):
        reach(engine, search, budget * (kill + dice.random()) / kills)
        service.kill()
        service.wait()
        service = machine.serve()
    reach(engine, search, budget)
    machine.wait(search, seconds=7_000)
    assert spent(engine, search) == budget
    assert broken(engine, search) == {}
    engine.dispose()


def reach(engine: Any, search: str, trials: float) -> None:
    """Wait until so many trials were begun."""
    while spent(engine, search) < trials:
        time.sleep(0.2)
