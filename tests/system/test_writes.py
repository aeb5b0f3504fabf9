"""The service, or its database, ends in the middle of writes: what was answered is there, once."""

import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Engine, create_engine, text

from service.store.location import store_url
from tests.support.invariants import broken
from tests.support.postgres import Postgres, running_postgres
from tests.support.reporters import Reporters, check_stored
from tests.system.machine import Machine, rest, until

pytestmark = pytest.mark.slow

ATTEMPTS = 6
KILLS = 3
OWNER_SECONDS = 2
# Nobody's lease runs out while the service is away: that is another test's matter.
ENVIRONMENT = {"ACTSEARCH_LEASE_SECONDS": "60", "ACTSEARCH_OWNER_SECONDS": str(OWNER_SECONDS)}


def test_a_service_that_is_killed_while_it_writes_keeps_what_it_answered(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, None)
    engine = engine_of(tmp_path, None)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    engine.dispose()


@pytest.mark.postgres
def test_a_service_that_is_killed_while_it_writes_keeps_what_it_answered_on_postgresql(
    tmp_path: Path, postgres: Postgres
) -> None:
    killed_again_and_again(tmp_path, postgres.migrated())


def killed_again_and_again(folder: Path, url: str | None) -> None:
    dice = random.Random(0)
    with closing(Machine(folder, url, ENVIRONMENT)) as machine:
        service = machine.serve()
        reporters = Reporters(machine.client.url, ATTEMPTS)
        with reporters.running():
            for _ in range(KILLS):
                reporters.wait(dice.randrange(20, 60))
                rest(dice.uniform(0, 0.03))
                service.kill()
                service.wait()
                service = machine.serve()
            reporters.wait(20)
        machine.wait(reporters.search)
        assert reporters.broken_off, "it was never killed while it wrote"
        check(folder, url, reporters)


@pytest.mark.postgres
def test_a_running_service_recovers_from_a_database_that_ends_and_comes_back(
    tmp_path: Path,
) -> None:
    with running_postgres() as postgres:
        url = postgres.migrated()
        with closing(Machine(tmp_path, url, ENVIRONMENT)) as machine:
            service = machine.serve()
            reporters = Reporters(machine.client.url, ATTEMPTS)
            with reporters.running():
                for away in (0, OWNER_SECONDS + 1):
                    reporters.wait(20)
                    postgres.stop()
                    check_away(machine)
                    rest(away)
                    check_away(machine)
                    postgres.start()
                    until(machine.is_ready)
                    reporters.wait(20)
            machine.wait(reporters.search)
            assert service.poll() is None, "it is still the same service"
            assert reporters.refused
            for answer in reporters.refused:
                check_refusal(answer.headers, answer.json())
            check(tmp_path, url, reporters)


def check_away(machine: Machine) -> None:
    """Check that the service says that its database is away, to whoever asks."""
    for path in ("/readyz", "/v1/searches"):
        answer = httpx2.get(f"{machine.client.url}{path}", timeout=30)
        assert answer.status_code == 503, path
        check_refusal(answer.headers, answer.json())
    assert httpx2.get(f"{machine.client.url}/healthz", timeout=30).status_code == 200


def check_refusal(headers: Mapping[str, str], problem: Mapping[str, object]) -> None:
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "1"
    assert problem["type"] == "urn:activation-search:problem:store-away"
    assert set(problem) == {"type", "title", "status", "detail", "instance", "request_id"}


def check(folder: Path, url: str | None, reporters: Reporters) -> None:
    engine = engine_of(folder, url)
    assert broken(engine, reporters.search) == {}
    check_stored(engine, reporters)
    engine.dispose()


def engine_of(folder: Path, url: str | None) -> Engine:
    return create_engine(store_url(url, folder / "service"))
