"""A backup that was made while the service ran, and what becomes of it."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.player import Player
from tests.support.serving import Served

LEASE_SECONDS = 0.5


@pytest.fixture
def restored() -> Iterator[Callable[[Path], Served]]:
    """Start a service on a copy of a home."""
    started: list[Served] = []

    def start(home: Path) -> Served:
        started.append(Served(home, lease_seconds=LEASE_SECONDS))
        return started[-1]

    yield start
    for served in started:
        served.close()


def test_a_restored_copy_goes_on_with_its_search(
    tmp_path: Path, restored: Callable[[Path], Served]
) -> None:
    served = restored(tmp_path / "first")
    player = Player(served)
    search = player.submit(parallel=1)
    player.inspect()
    player.train(player.work(), 0.5)
    running = player.work()
    player.report(running, 1, 0.6)
    url = f"/leases/{running['lease']}/artifacts/checkpoint.safetensors"
    headers = {"content-type": "application/octet-stream"}
    served.http.put(url, content=b"half-way", headers=headers).raise_for_status()

    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(tmp_path / "first" / "actsearch.db")) as database:
        database.execute("VACUUM INTO ?", (str(copy / "actsearch.db"),))
    shutil.copytree(tmp_path / "first" / "artifacts", copy / "artifacts")
    player.train(running, 0.6, 0.7)
    served.stop()
    shutil.rmtree(tmp_path / "first")

    player = Player(restored(copy))
    assert player.search(search["id"])["counts"]["running"] == 1
    again = player.work(wait=20)
    assert (again["trial"], again["attempt"]) == (running["trial"], 2)
    name = again["checkpoint"]["name"]
    kept = player.http.get(f"/trials/{again['trial']}/artifacts/{name}")
    assert kept.content == b"half-way"
    player.train(again, 0.6, 0.7)
    while player.search(search["id"])["state"] != "completed":
        player.train(player.work(), 0.5)
    states = {trial["state"] for trial in player.trials(search["id"])}
    assert states == {"completed"}
