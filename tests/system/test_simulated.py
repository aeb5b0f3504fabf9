"""Whole searches by simulated workers, over real HTTP."""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from service.store.location import store_url
from tests.support.invariants import broken, spent, watched
from tests.support.serving import Served
from tests.support.tables import TASK, VARIANTS, fleet, invented
from tests.system.machine import Machine, until
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
    assert broken(served.context.database.engine, found["id"]) == {}


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


@dataclass(frozen=True)
class Edition:
    """How much is simulated. Heartbeats of 256 workers are too late for leases of 3 seconds."""

    budget: int
    workers: int
    kills: int
    lease_seconds: int


QUICK = {"random": Edition(150, 24, 2, 3), "tpe": Edition(80, 24, 2, 3)}
WHOLE = {"random": Edition(10_000, 256, 6, 30), "tpe": Edition(1_000, 256, 6, 30)}
EDITIONS = WHOLE if os.environ.get(FULL) else QUICK


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("sampler", "database"),
    [
        ("random", "sqlite"),
        ("tpe", "sqlite"),
        pytest.param("tpe", "postgresql", marks=pytest.mark.postgres),
    ],
)
def test_kills_of_workers_and_of_the_service_break_nothing(
    tmp_path: Path, request: pytest.FixtureRequest, sampler: str, database: str
) -> None:
    url = None if database == "sqlite" else request.getfixturevalue("postgres").migrated()
    edition = EDITIONS[sampler]
    lease = {"ACTSEARCH_LEASE_SECONDS": str(edition.lease_seconds)}
    with closing(Machine(tmp_path, url, lease)) as machine:
        service = machine.serve()
        search = begin(machine, sampler, edition)
        engine = create_engine(store_url(url, tmp_path / "service"))
        with watched(engine, search) as watch:
            kill_often(machine, service, lambda: spent(engine, search), edition)
            until(lambda: state(engine, search) == "completed", 7_000)
        assert watch.broken == {}
        assert watch.looks > edition.kills
        assert spent(engine, search) == edition.budget
        assert broken(engine, search) == {}
        engine.dispose()


def begin(machine: Machine, sampler: str, edition: Edition) -> str:
    """Start simulated workers that die and lose answers; submit a search."""
    path = machine.folder / "table.npz"
    save(invented(gain=0.03, sites=5), path)
    rates = ["--kill-rate", "0.004", "--drop-rate", "0.02"]
    machine.simulate(path, *rates, workers=edition.workers)
    size = {"budget": {"trials": edition.budget}, "parallel": edition.workers}
    return machine.client.submit(SEARCH | {"sampler": {"name": sampler}} | size).id


def kill_often(
    machine: Machine,
    service: subprocess.Popen[str],
    begun: Callable[[], int],
    edition: Edition,
) -> None:
    """Kill the service at random places of a search, and start it again each time."""
    dice = random.Random(edition.budget)
    for kill in range(edition.kills):
        place = edition.budget * (kill + dice.random()) / edition.kills
        while begun() < place:
            time.sleep(0.2)
        service.kill()
        service.wait()
        service = machine.serve()


def state(engine: Engine, search: str) -> str:
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT state FROM searches WHERE id = :id"), {"id": search})
    return str(found)
