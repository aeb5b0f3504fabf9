"""A small network, a service that is a stub, and the file that makes this process a trial."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from search_space.contract import Assignment, LeaseFile
from search_space.sites import find_sites
from search_space.spec import ActivationSpec, Candidate, Training
from tests.workers.stub import Stub, serving
from workers.environment import LEASE_FILE

EXAMPLE = torch.zeros(2, 4)

# Makes this process serve an assignment; returns the path of the lease file.
Serve = Callable[[Assignment], Path]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tests share their cores, and threads of one tiny network only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


@pytest.fixture
def serve(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def serve(assignment: Assignment) -> Path:
        path = tmp_path / f"{assignment.lease}.json"
        path.write_text(LeaseFile(url=stub.url, assignment=assignment).model_dump_json())
        monkeypatch.setenv(LEASE_FILE, str(path))
        return path

    return serve


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def fingerprint() -> str:
    return find_sites(network(), EXAMPLE).fingerprint


def candidate(name: str = "pwlu", **training: float) -> Candidate:
    return Candidate({"1": ActivationSpec(name)}, Training(**training))
