"""The cores and the memory of this machine, or of the container that the worker runs in."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.executors.gpus import Gpu

_GIB = 2**30
_BYTES_PER_SLOT = 2 * _GIB
"""Memory of a trial of a small network, with torch, its data and a reserve."""
_GPU_BYTES_PER_SLOT = 16 * _GIB
_MOST_PER_GPU = 4
"""With more, trials of all but the smallest networks wait for each other on the GPU."""
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class MachineResources:
    """What this process may use, at the time it was measured.

    Attributes:
        cores: Processor cores.
        memory_bytes: Memory for all trials together.
        free_bytes: The part of that memory that is not in use.
    """

    cores: int
    memory_bytes: int
    free_bytes: int

    def slots(self, gpus: Sequence[Gpu]) -> int:
        """Return how many trials to run at once.

        One for each core, or with GPUs, as many on each as its memory holds; fewer if the memory
        of the machine is too small for so many.
        """
        most = min(sum(map(_slots_of, gpus)), max(len(gpus), self.cores)) or self.cores
        return max(1, min(most, self.free_bytes // _BYTES_PER_SLOT))

    def describe(self, gpus: Sequence[object]) -> str:
        free = f"{self.free_bytes / _GIB:.1f} of {self.memory_bytes / _GIB:.1f} GiB of memory free"
        return f"{len(gpus)} GPUs, {self.cores} cores, {free}"


def _slots_of(gpu: Gpu) -> int:
    return max(1, min(_MOST_PER_GPU, gpu.free_bytes // _GPU_BYTES_PER_SLOT))


def machine_resources() -> MachineResources:
    """Measure the cores and the memory, within the limits of a container."""
    total, free = _memory()
    return MachineResources(_cores(), total, free)


def _cores() -> int:
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _memory() -> tuple[int, int]:
    """Return the memory of the machine or the container, and its free part, in bytes."""
    lines = (line.split() for line in _read(_MEMINFO).splitlines())
    known = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines}
    total, free = known["MemTotal"], known["MemAvailable"]
    # A container sees the memory of the whole machine in /proc; only its cgroup has the limit.
    limit, used = (_read(_CGROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and used.isdecimal() and int(limit) < total:
        total, free = int(limit), min(free, int(limit) - int(used))
    return total, max(0, free)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
