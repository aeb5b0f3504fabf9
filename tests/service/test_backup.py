"""A backup that was made while the service ran, and what becomes of it."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.support.player import Player
from tests.support.postgres import Postgres
from tests.support.serving import Served

LEASE_SECONDS = 0.5

BackUp = Callable[[Path, Path], dict[str, Any]]
"""From a home to the home of a copy; returns the settings of the copy."""


def back_up_sqlite(home: Path, copy: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(home / "actsearch.db")) as database:
        database.execute("VACUUM INTO ?", (str(copy / "actsearch.db"),))
    return {}


def back_up_postgres(postgres: Postgres, url: str, copy: Path) -> dict[str, Any]:
    """As the docs say: into a file, and from it into an empty database."""
    restored, file = postgres.empty(), str(copy / "backup.dump")
    postgres.run("pg_dump", "--format=custom", "--file", file, _plain(url))
    postgres.run("pg_restore", "--exit-on-error", "--dbname", _plain(restored), file)
    return {"database_url": restored}


def _plain(url: str) -> str:
    """Return a URL as the programs of PostgreSQL read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest) -> tuple[dict[str, Any], BackUp]:
    """The settings of a store, and how it is backed up and restored."""
    if request.param == "sqlite":
        return {}, back_up_sqlite
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.migrated()
    return {"database_url": url}, lambda _, copy: back_up_postgres(postgres, url, copy)


@pytest.fixture
def restored() -> Iterator[Callable[..., Served]]:
    """Start a service on a home."""
    started: list[Served] = []

    def start(home: Path, **settings: Any) -> Served:
        started.append(Served(home, lease_seconds=LEASE_SECONDS, **settings))
        return started[-1]

    yield start
    for served in started:
        served.close()


def test_a_restored_copy_goes_on_with_its_search(
    tmp_path: Path, restored: Callable[..., Served], kept: tuple[dict[str, Any], BackUp]
) -> None:
    settings, back_up = kept
    served = restored(tmp_path / "first", **settings)
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
    settings = back_up(tmp_path / "first", copy)
    shutil.copytree(tmp_path / "first" / "artifacts", copy / "artifacts")
    player.train(running, 0.6, 0.7)
    served.stop()
    shutil.rmtree(tmp_path / "first")

    player = Player(restored(copy, **settings))
    assert player.search(search["id"])["counts"]["running"] == 1
    again = player.work(wait=20)
    assert (again["trial"], again["attempt"]) == (running["trial"], 2)
    name = again["checkpoint"]["name"]
    stored = player.http.get(f"/trials/{again['trial']}/artifacts/{name}")
    assert stored.content == b"half-way"
    player.train(again, 0.6, 0.7)
    while player.search(search["id"])["state"] != "completed":
        player.train(player.work(), 0.5)
    states = {trial["state"] for trial in player.trials(search["id"])}
    assert states == {"completed"}
