from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.digits import SEARCH, Curves, curves
from tests.system.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """What the search of `digits` reports when nothing happens to it."""
    machine = Machine(tmp_path_factory.mktemp("twin"))
    try:
        machine.serve()
        machine.worker()
        search = machine.client.submit(SEARCH)
        machine.wait(search.id)
        return curves(machine, search.id)
    finally:
        machine.close()
