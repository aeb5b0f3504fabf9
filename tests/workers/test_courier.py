"""Reports and checkpoints on their way to a service that may be away."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_space.contract import CHECKPOINT, LeaseFile, Report, Verdict
from tests.workers.conftest import candidate
from tests.workers.stub import Stub, serving
from workers.attempt.http import Wire
from workers.attempt.outbox import Courier, checkpoint_of, hand_in_for_the_dead, mark_of
from workers.errors import LeaseLost, NoDiskSpace, ServiceAway

LEASE = "lease-1"


def report(step: int) -> Report:
    return Report(step=step, metrics={"validation_accuracy": 0.5})


@pytest.fixture
def lease_file(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


@pytest.fixture
def wire(stub: Stub) -> Iterator[Wire]:
    wire = Wire(stub.url, "t", patience=30)
    yield wire
    wire.close()


@pytest.fixture
def courier(wire: Wire, lease_file: Path) -> Courier:
    return Courier(wire, LEASE, lease_file, seconds=0)


def test_reports_wait_for_a_service_that_is_away_and_arrive_in_order(tmp_path: Path) -> None:
    stub = Stub()
    with serving(stub):
        port = int(stub.url.rpartition(":")[2])
    wire = Wire(stub.url, "t", patience=30)
    courier = Courier(wire, LEASE, tmp_path / "lease.json", seconds=0)
    assert [courier.report(report(step)) for step in (1, 2, 3)] == [Verdict.CONTINUE] * 3
    courier.keep(b"after three")
    with serving(stub, port):
        stub.wait(lambda: CHECKPOINT in stub.artifacts)
    assert [told.step for told in stub.reports] == [1, 2, 3]
    assert stub.artifacts[CHECKPOINT] == b"after three"
    courier.close()
    wire.close()


def test_a_verdict_that_came_late_is_obeyed_at_the_next_report(tmp_path: Path) -> None:
    stub = Stub()
    stub.verdicts = {1: Verdict.STOP}
    with serving(stub):
        port = int(stub.url.rpartition(":")[2])
    wire = Wire(stub.url, "t", patience=30)
    courier = Courier(wire, LEASE, tmp_path / "lease.json", seconds=0)
    courier.report(report(1))
    with serving(stub, port):
        stub.wait(lambda: stub.reports)
        # The answer is on its way to the thread.
        while (heard := courier.report(report(2))) is Verdict.CONTINUE:
            time.sleep(0.01)
        assert heard is Verdict.STOP
    courier.close()
    wire.close()


def test_a_superseded_attempt_is_told_so(stub: Stub, courier: Courier) -> None:
    stub.ended.add(LEASE)
    with pytest.raises(LeaseLost):
        courier.report(report(1))
    with pytest.raises(LeaseLost):
        courier.keep(b"x")


def test_what_is_not_due_is_kept_until_it_is_handed_in(
    stub: Stub, wire: Wire, lease_file: Path
) -> None:
    courier = Courier(wire, LEASE, lease_file, seconds=3600)
    courier.keep(b"first")
    assert stub.artifacts[CHECKPOINT] == b"first"
    assert not checkpoint_of(lease_file).exists()
    assert mark_of(lease_file).exists()
    courier.keep(b"second")
    assert checkpoint_of(lease_file).read_bytes() == b"second"
    courier.hand_in()
    assert stub.artifacts[CHECKPOINT] == b"second"
    assert not checkpoint_of(lease_file).exists()


def test_a_dead_process_s_checkpoint_is_handed_in_for_it(stub: Stub, lease_file: Path) -> None:
    assignment = stub.assignment({"name": "mine"}, candidate())
    lease_file.write_text(LeaseFile(url=stub.url, assignment=assignment).model_dump_json())
    checkpoint_of(lease_file).write_bytes(b"newest")
    hand_in_for_the_dead(lease_file)
    assert stub.artifacts[CHECKPOINT] == b"newest"


def test_a_full_disk_is_named(courier: Courier, lease_file: Path) -> None:
    lease_file.parent.rmdir()
    with pytest.raises(NoDiskSpace, match=f"cannot write {checkpoint_of(lease_file)}"):
        courier.keep(b"x")


def test_handing_in_gives_up_in_the_end(tmp_path: Path) -> None:
    stub = Stub()
    with serving(stub):
        pass
    wire = Wire(stub.url, "t", patience=0)
    courier = Courier(wire, LEASE, tmp_path / "lease.json", seconds=3600)
    courier.report(report(1))
    with pytest.raises(ServiceAway):
        courier.hand_in()
    courier.close()
    wire.close()
