"""How much memory processes use, and whether the kernel ran out of it. From /proc."""

from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def used_by(processes: Iterable[int]) -> int:
    """Return the bytes that processes use together, as the sum of their proportional set sizes."""
    return sum(_used_by(_PROC / str(process)) for process in processes)


def out_of_memory_kills() -> int:
    """Return how many processes the kernel's out-of-memory killer has ended since the start."""
    lines = (line.split() for line in (_PROC / "vmstat").read_text().splitlines())
    return next((int(count) for name, count in lines if name == "oom_kill"), 0)


def _used_by(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    # PSS divides a shared page among its processes. With RSS, the pages that every trial shares
    # with the forkserver (torch, hundreds of MB) would count for each process anew.
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
