import gc
from collections.abc import Iterator

import pytest

from tests.support.leftovers import ended_with_the_run
from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="module", autouse=True)
def _light_collections() -> Iterator[None]:
    """Keep the collector off what compilers have left: a run takes seconds to go through it."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_process_outlives_the_run() -> Iterator[None]:
    with ended_with_the_run():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
