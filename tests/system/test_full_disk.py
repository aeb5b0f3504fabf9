"""Disks that are full, of a worker and of the service: said clearly, and mended by making room."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.system.gated import EPOCHS, GATE, Gated
from tests.system.machine import Machine, until

pytestmark = pytest.mark.slow

MEBIBYTE = 2**20


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, int], None]]:
    """Mount disks of so many bytes; they are gone after the test."""
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    mounted: list[Path] = []

    def mount(folder: Path, size: int) -> None:
        folder.mkdir()
        options = ["-o", f"size={size}"]
        subprocess.run(["mount", "-t", "tmpfs", *options, "none", str(folder)], check=True)
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill the disk of a folder with a file, up to so many bytes."""
    filler = folder / "filler"
    disk = os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave)
    return filler


def test_a_worker_whose_disk_fills_up_says_so_and_its_trial_goes_on_when_there_is_room(
    machine: Machine, small_disk: Callable[[Path, int], None]
) -> None:
    gated = Gated(machine)
    machine.serve()
    home = machine.folder / "small"
    small_disk(home, 8 * MEBIBYTE)
    worker = machine.worker("--home", str(home), "--min-free-disk", "0")
    search = gated.submit()
    (trial,) = gated.at_gate(search)
    until(gated.has_arrived)
    filler = fill(home)
    gated.open()
    machine.wait(search, "paused")
    reason = machine.read(f"/searches/{search}")["reason"]
    assert "No space left on device" in reason
    assert reason.endswith("fix it, then resume the search")

    filler.unlink()
    machine.client.resume(search)
    gated.check(search)
    # The epoch whose checkpoint found no room had been reported already.
    reports = machine.read(f"/trials/{trial['id']}/reports")
    before = GATE + 1
    assert [r["attempt"] for r in reports] == [1] * before + [2] * (EPOCHS - before)
    assert worker.poll() is None, "the worker lives on"


def test_on_a_disk_that_is_nearly_full_no_trial_starts(
    machine: Machine, small_disk: Callable[[Path, int], None]
) -> None:
    gated = Gated(machine)
    gated.open()
    machine.serve()
    home = machine.folder / "small"
    small_disk(home, 64 * MEBIBYTE)
    filler = fill(home, leave=16 * MEBIBYTE)
    worker = machine.worker("--home", str(home), "--min-free-disk", "0.03125")
    search = gated.submit()
    machine.wait(search, "paused")
    reason = machine.read(f"/searches/{search}")["reason"]
    assert "0.02 GiB are free, less than the 0.03125 GiB of --min-free-disk" in reason

    filler.unlink()
    machine.client.resume(search)
    gated.check(search)
    assert worker.poll() is None, "the worker lives on"


def test_a_service_whose_disk_is_full_says_so_and_nothing_is_harmed(
    machine: Machine, small_disk: Callable[[Path, int], None]
) -> None:
    home = machine.folder / "service"
    small_disk(home, 16 * MEBIBYTE)
    service = machine.serve()
    gated = Gated(machine)
    machine.worker(slots=1)
    search = gated.submit()
    (trial,) = gated.at_gate(search)
    filler = fill(home)

    full = 0
    for number in range(200):
        answer = httpx2.patch(
            f"{machine.client.url}/v1/searches/{search}", json={"name": f"{number} " + 150 * "x"}
        )
        assert answer.status_code in (200, 507), answer.text
        full += answer.status_code == 507
    assert full, "the disk was full"
    assert answer.json()["type"].endswith("disk-full")
    assert "the service's disk is full" in answer.json()["detail"]
    assert machine.read(f"/trials/{trial['id']}")["step"] == GATE, "what is stored can be read"
    gated.open()
    until(lambda: "507" in machine.log("worker-1"))
    filler.unlink()
    gated.check(search)
    assert gated.attempts(trial["id"])[0] == 1
    assert service.poll() is None, "the service lives on"
    with closing(sqlite3.connect(home / "actsearch.db")) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_upload_that_the_service_has_no_room_for_leaves_nothing(
    machine: Machine, small_disk: Callable[[Path, int], None]
) -> None:
    home = machine.folder / "service"
    small_disk(home, 16 * MEBIBYTE)
    machine.serve()
    url = f"{machine.client.url}/v1/artifacts"
    headers = {"content-type": "application/octet-stream"}
    answer = httpx2.put(url, content=bytes(20 * MEBIBYTE), headers=headers, timeout=30)
    assert answer.status_code == 507
    assert answer.json()["type"].endswith("disk-full")
    assert not list((home / "incoming").iterdir())
    assert httpx2.put(url, content=bytes(MEBIBYTE), headers=headers).status_code == 200
