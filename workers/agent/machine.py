"""What a machine, or the container that a worker runs in, has to give."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.executors.gpus import Gpu

_GIB = 2**30
_BYTES_PER_SLOT = 2 * _GIB
"""What a trial of a small network takes with torch and its data, and some room."""
_GPU_BYTES_PER_SLOT = 16 * _GIB
_MOST_PER_GPU = 4
"""Beyond, trials of all but the smallest networks take turns on a GPU, not part in it."""
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """As they were when they were looked at.

    Attributes:
        cores: That this process may use.
        memory_bytes: That all trials together may use.
        free_bytes: Of that memory, not in use.
    """

    cores: int
    memory_bytes: int
    free_bytes: int

    def slots(self, gpus: Sequence[Gpu]) -> int:
        """Return how many trials to run at once, as far as the memory reaches: one for each core,
        or with GPUs, as many on each as its memory holds.
        """
        places = min(sum(map(_places, gpus)), max(len(gpus), self.cores)) or self.cores
        return max(1, min(places, self.free_bytes // _BYTES_PER_SLOT))

    def described(self, gpus: Sequence[object]) -> str:
        free = f"{self.free_bytes / _GIB:.1f} of {self.memory_bytes / _GIB:.1f} GiB of memory free"
        return f"{len(gpus)} GPUs, {self.cores} cores, {free}"


def _places(gpu: Gpu) -> int:
    return max(1, min(_MOST_PER_GPU, gpu.free_bytes // _GPU_BYTES_PER_SLOT))


def look_around() -> Surroundings:
    """Measure the cores and the memory, as far as a container is given them."""
    total, free = _memory()
    return Surroundings(_cores(), total, free)


def _cores() -> int:
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _memory() -> tuple[int, int]:
    """Return the memory of the machine or the container, and what of it is free, in bytes."""
    lines = (line.split() for line in _read(_MEMINFO).splitlines())
    known = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines}
    total, free = known["MemTotal"], known["MemAvailable"]
    limit, used = (_read(_CGROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and used.isdecimal() and int(limit) < total:
        total, free = int(limit), min(free, int(limit) - int(used))
    return total, max(0, free)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
