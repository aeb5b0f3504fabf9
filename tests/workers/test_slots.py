"""How many slots a worker has, and what of a GPU each of them is given."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from search_space.contract import TaskOffer
from workers.agent import machine
from workers.agent.machine import MachineResources, machine_resources
from workers.agent.wiring import place_on_node
from workers.environment import GPU_SHARE, LEASE_FILE
from workers.errors import NoGpuMemory
from workers.executors import gpus
from workers.executors.base import ProcessSpec, TrialResources
from workers.executors.gpus import Gpu, find_gpus, free_now
from workers.executors.local import LocalExecutor
from workers.tasks.base import CommandTask, Place
from workers.trial import trial

GIB = 2**30
OFFER = TaskOffer(name="t", settings={}, metrics={})


def gpu(*, free: float, total: float = 80) -> Gpu:
    return Gpu("a gpu", "1234", int(total * GIB), int(free * GIB))


def given(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> MachineResources:
    """Look around in a container that was given these limits, on a machine of 64 GiB."""
    monkeypatch.setattr(machine, "_CGROUP", folder)
    monkeypatch.setattr(machine, "_MEMINFO", folder / "meminfo")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    kib = {"MemTotal": 64 * 2**20, "MemAvailable": 48 * 2**20}
    (folder / "meminfo").write_text("".join(f"{k}: {v} kB\n" for k, v in kib.items()))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(f"{text}\n")
    return machine_resources()


def test_a_machine_is_what_its_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(tmp_path, monkeypatch) == MachineResources(8, 64 * GIB, 48 * GIB)


def test_a_container_is_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"memory_max": str(16 * GIB), "memory_current": str(6 * GIB)}
    there = given(tmp_path, monkeypatch, cpu_max="300000 100000", **limits)
    assert there == MachineResources(3, 16 * GIB, 10 * GIB)


def test_a_container_without_limits_is_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = given(tmp_path, monkeypatch, cpu_max="max 100000", memory_max="max")
    assert there == MachineResources(8, 64 * GIB, 48 * GIB)


@pytest.mark.parametrize(
    ("cores", "free", "devices", "slots"),
    [
        (8, 64, [], 8),
        (8, 5, [], 2),
        (8, 0, [], 1),
        # A GPU holds as many as its free memory has room for, up to four.
        (8, 64, [10], 1),
        (8, 64, [40], 2),
        (16, 64, [139], 4),
        (16, 64, [40, 10], 3),
        # Every trial needs a core that feeds it; a GPU is not left idle for want of one.
        (3, 64, [139], 3),
        (1, 64, [40, 40], 2),
        (16, 4, [139], 2),
    ],
)
def test_slots_are_as_many_as_cores_and_memory_hold(
    cores: int, free: int, devices: list[int], slots: int
) -> None:
    there = MachineResources(cores, 64 * GIB, free * GIB)
    assert there.slots([gpu(free=device, total=140) for device in devices]) == slots


def test_gpus_are_those_that_torch_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: Sequence[str]) -> str:
        asked.append(command[0])
        return "H200\tab-1\t800\t700\nH200\tab-2\t800\t600\n"

    monkeypatch.setattr(gpus, "run", run)
    monkeypatch.setattr("shutil.which", lambda _: "/bin/nvidia-smi")
    assert find_gpus() == [Gpu("H200", "ab-1", 800, 700), Gpu("H200", "ab-2", 800, 600)]
    assert asked == [sys.executable]


@pytest.mark.parametrize(
    ("answer", "free"), [("512\n", 512 * 2**20), ("[N/A]\n", None), (None, None)]
)
def test_a_driver_tells_the_free_memory_of_a_gpu_by_its_uuid(
    answer: str | None, free: int | None
) -> None:
    asked: list[str] = []

    def run(command: Sequence[str]) -> str | None:
        asked.extend(command)
        return answer

    assert free_now(gpu(free=1), run) == free
    assert "--id=GPU-1234" in asked


@pytest.mark.parametrize(
    ("given", "gpus", "memory_bytes", "gpu_share"),
    [
        ("auto", 0.5, None, 0.45),
        ("none", 0.25, None, 0.225),
        ("3", 1.0, 3 * GIB, None),
        ("1.5", 0.0, 1.5 * GIB, None),
    ],
)
def test_a_trial_on_a_ray_cluster_has_its_share_of_its_node(
    tmp_path: Path, given: str, gpus: float, memory_bytes: float | None, gpu_share: float | None
) -> None:
    options = Namespace(data_root=tmp_path, min_free_disk="1", memory_per_trial=given)
    place = place_on_node(options, tmp_path, TrialResources(cpus=2, gpus=gpus))
    expected = (2, memory_bytes, gpu_share, GIB)
    assert (place.threads, place.memory_bytes, place.gpu_share, place.min_free_bytes) == expected


class Driver:
    """Answers how many MiB are free, one number after another."""

    def __init__(self, *gibs: float) -> None:
        self._answers = [str(int(g * 1024)) for g in gibs]
        self.asked = 0

    def __call__(self, _: Sequence[str]) -> str:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def start(
    folder: Path, driver: Driver, *, slots: int, patience: float = 0.0, devices: int = 1
) -> dict[str, str]:
    """Start a process on a GPU of 80 GiB, 40 of which were free, and return what it was given."""
    place, there = Place(folder, folder, threads=1), [gpu(free=40)] * devices
    executor = LocalExecutor(place, slots=slots, gpus=there, run=driver, gpu_patience=patience)
    seen = folder / "seen"
    code = f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    task = CommandTask(OFFER, (sys.executable, "-c", code), folder)
    assert (
        executor.start(ProcessSpec(task, {}, folder / "lease", folder / "log"), slot=0).wait(30)
        == 0
    )
    environment: dict[str, str] = eval(seen.read_text())
    return environment


@pytest.mark.parametrize(
    ("slots", "devices", "share"), [(1, 1, 0.45), (4, 1, 0.1125), (4, 2, 0.225)]
)
def test_slots_that_share_a_gpu_divide_its_memory(
    tmp_path: Path, slots: int, devices: int, share: float
) -> None:
    environment = start(tmp_path, Driver(40), slots=slots, devices=devices)
    assert float(environment[GPU_SHARE]) == pytest.approx(share, abs=1e-4)


def test_no_trial_starts_where_something_else_holds_its_memory(tmp_path: Path) -> None:
    # A share is 18 GiB.
    with pytest.raises(NoGpuMemory, match=r"a gpu: 8\.00 GiB are free, less than 9\.00 GiB"):
        start(tmp_path, Driver(8), slots=2)


def test_a_trial_waits_for_the_memory_of_the_one_before_it(tmp_path: Path) -> None:
    driver = Driver(8, 20)
    start(tmp_path, driver, slots=2, patience=60)
    assert driver.asked == 2


@pytest.mark.parametrize(("rank", "device"), [(None, 0), ("1", 1)])
def test_a_trial_keeps_to_its_share_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str | None, device: int
) -> None:
    limits: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: limits.append(given)
    )
    monkeypatch.setenv(GPU_SHARE, "0.2250")
    monkeypatch.setenv(LEASE_FILE, str(tmp_path / "none"))
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(FileNotFoundError):
        trial()
    assert limits == [(0.225, device)]
