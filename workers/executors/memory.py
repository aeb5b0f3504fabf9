"""How much memory processes use, and whether the machine ran out of it. From /proc."""

from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def used_by(processes: Iterable[int]) -> int:
    """Return the bytes that processes use together; pages shared with others count in parts."""
    return sum(_used_by(_PROC / str(process)) for process in processes)


def kills_for_want_of_memory() -> int:
    """Return how many processes the kernel has killed for want of memory since it started."""
    lines = (line.split() for line in (_PROC / "vmstat").read_text().splitlines())
    return next((int(count) for name, count in lines if name == "oom_kill"), 0)


def _used_by(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
