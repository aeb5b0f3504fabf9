"""Reports and checkpoints on their way to a service that may be away."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_space.contract import CHECKPOINT, LeaseFile, Report, Verdict
from tests.workers.conftest import candidate
from tests.workers.stub import Stub, serving
from workers.attempt.http import HttpClient
from workers.attempt.outbox import (
    Outbox,
    checkpoint_file_of,
    checkpoint_marker_of,
    upload_checkpoint_of,
)
from workers.errors import LeaseLost, NoDiskSpace, ServiceAway

LEASE = "lease-1"


def report(step: int) -> Report:
    return Report(step=step, metrics={"validation_accuracy": 0.5})


@pytest.fixture
def lease_file(tmp_path: Path) -> Path:
    return tmp_path / "lease.json"


@pytest.fixture
def client(stub: Stub) -> Iterator[HttpClient]:
    client = HttpClient(stub.url, "t", patience=30)
    yield client
    client.close()


@pytest.fixture
def outbox(client: HttpClient, lease_file: Path) -> Outbox:
    return Outbox(client, LEASE, lease_file, seconds=0)


def test_reports_wait_for_a_service_that_is_away_and_arrive_in_order(tmp_path: Path) -> None:
    stub = Stub()
    with serving(stub):
        port = int(stub.url.rpartition(":")[2])
    client = HttpClient(stub.url, "t", patience=30)
    outbox = Outbox(client, LEASE, tmp_path / "lease.json", seconds=0)
    assert [outbox.report(report(step)) for step in (1, 2, 3)] == [Verdict.CONTINUE] * 3
    outbox.save_checkpoint(b"after three")
    with serving(stub, port):
        stub.wait(lambda: CHECKPOINT in stub.artifacts)
    assert [told.step for told in stub.reports] == [1, 2, 3]
    assert stub.artifacts[CHECKPOINT] == b"after three"
    outbox.close()
    client.close()


def test_a_verdict_that_came_late_is_obeyed_at_the_next_report(tmp_path: Path) -> None:
    stub = Stub()
    stub.verdicts = {1: Verdict.STOP}
    with serving(stub):
        port = int(stub.url.rpartition(":")[2])
    client = HttpClient(stub.url, "t", patience=30)
    outbox = Outbox(client, LEASE, tmp_path / "lease.json", seconds=0)
    outbox.report(report(1))
    with serving(stub, port):
        stub.wait(lambda: stub.reports)
        # The answer is on its way to the thread.
        while (heard := outbox.report(report(2))) is Verdict.CONTINUE:
            time.sleep(0.01)
        assert heard is Verdict.STOP
    outbox.close()
    client.close()


def test_a_superseded_attempt_is_told_so(stub: Stub, outbox: Outbox) -> None:
    stub.ended.add(LEASE)
    with pytest.raises(LeaseLost):
        outbox.report(report(1))
    with pytest.raises(LeaseLost):
        outbox.save_checkpoint(b"x")


def test_what_is_not_due_is_kept_until_it_is_handed_in(
    stub: Stub, client: HttpClient, lease_file: Path
) -> None:
    outbox = Outbox(client, LEASE, lease_file, seconds=3600)
    outbox.save_checkpoint(b"first")
    assert stub.artifacts[CHECKPOINT] == b"first"
    assert not checkpoint_file_of(lease_file).exists()
    assert checkpoint_marker_of(lease_file).exists()
    outbox.save_checkpoint(b"second")
    assert checkpoint_file_of(lease_file).read_bytes() == b"second"
    outbox.flush()
    assert stub.artifacts[CHECKPOINT] == b"second"
    assert not checkpoint_file_of(lease_file).exists()


def test_the_marker_has_the_time_of_the_first_checkpoint(outbox: Outbox, lease_file: Path) -> None:
    outbox.save_checkpoint(b"first")
    os.utime(checkpoint_marker_of(lease_file), (1000, 1000))
    outbox.save_checkpoint(b"second")
    assert checkpoint_marker_of(lease_file).stat().st_mtime == 1000


def test_a_dead_process_s_checkpoint_is_handed_in_for_it(stub: Stub, lease_file: Path) -> None:
    assignment = stub.assignment({"name": "mine"}, candidate())
    lease_file.write_text(LeaseFile(url=stub.url, assignment=assignment).model_dump_json())
    checkpoint_file_of(lease_file).write_bytes(b"newest")
    upload_checkpoint_of(lease_file)
    assert stub.artifacts[CHECKPOINT] == b"newest"


def test_a_full_disk_is_named(outbox: Outbox, lease_file: Path) -> None:
    lease_file.parent.rmdir()
    with pytest.raises(NoDiskSpace, match=f"cannot write {checkpoint_file_of(lease_file)}"):
        outbox.save_checkpoint(b"x")


def test_handing_in_gives_up_in_the_end(tmp_path: Path) -> None:
    stub = Stub()
    with serving(stub):
        pass
    client = HttpClient(stub.url, "t", patience=0)
    outbox = Outbox(client, LEASE, tmp_path / "lease.json", seconds=3600)
    outbox.report(report(1))
    with pytest.raises(ServiceAway):
        outbox.flush()
    outbox.close()
    client.close()
