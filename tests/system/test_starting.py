"""A service that starts while its database is busy: it says why it is not ready."""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, func, select

from service.store.location import store_url
from service.store.migrate import LOCK
from tests.support.postgres import Postgres
from tests.system.machine import Machine, until

pytestmark = pytest.mark.slow


@contextmanager
def busy_sqlite(folder: Path) -> Iterator[None]:
    home = folder / "service"
    home.mkdir(parents=True)
    with closing(sqlite3.connect(home / "actsearch.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def busy_postgres(url: str) -> Iterator[None]:
    """Hold what another service would that migrates the same database."""
    engine = create_engine(store_url(url, Path()))
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_lock(LOCK)))
        yield
    engine.dispose()


def test_a_service_that_waits_to_migrate_says_so_on_sqlite(tmp_path: Path) -> None:
    says_so(Machine(tmp_path, port=free_port()), busy_sqlite(tmp_path))


@pytest.mark.postgres
def test_a_service_that_waits_to_migrate_says_so_on_postgresql(
    tmp_path: Path, postgres: Postgres
) -> None:
    url = postgres.empty()
    says_so(Machine(tmp_path, url, port=free_port()), busy_postgres(url))


def says_so(machine: Machine, busy: AbstractContextManager[None]) -> None:
    url = machine.client.url
    try:
        with busy:
            machine.serve(ready=False)
            until(lambda: is_there(url))
            for path in ("/readyz", "/v1/searches", "/metrics"):
                answer = httpx2.get(f"{url}{path}", timeout=30)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), path
                assert answer.json()["type"].endswith(":starting")
                assert "brought up to date" in answer.json()["detail"]
        until(machine.is_ready)
        assert httpx2.get(f"{url}/v1/searches", timeout=30).status_code == 200
    finally:
        machine.close()


def is_there(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", timeout=30).status_code == 200
    except httpx2.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
