from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.player import Player
from tests.support.postgres import Postgres
from tests.support.serving import Served

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
"""Every test of the service runs on both."""


def _settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of a new store on the database that is asked for."""
    if request.param == "sqlite":
        return {}
    postgres: Postgres = request.getfixturevalue("postgres")
    return {"database_url": postgres.migrated()}


@pytest.fixture(params=DATABASES)
def new_store(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Return what makes the settings of a new store."""
    return lambda: _settings(request)


@pytest.fixture(scope="module", params=DATABASES)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A service for all tests of a module."""
    served = Served(tmp_path_factory.mktemp("home"), **_settings(request))
    yield served
    served.close()


@pytest.fixture
def serve(
    tmp_path: Path, new_store: Callable[[], dict[str, str]]
) -> Iterator[Callable[..., Served]]:
    """Start services with settings; all of them stop at the end."""
    running: list[Served] = []

    def start(**settings: Any) -> Served:
        settings = new_store() | settings
        running.append(Served(tmp_path / f"home-{len(running)}", **settings))
        return running[-1]

    yield start
    for served in running:
        served.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture
def player(served: Served) -> Player:
    """A worker played by the test, registered with the service."""
    return Player(served)
