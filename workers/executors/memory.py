"""How much memory a trial's processes use, and whether the machine ran out of it. From /proc."""

from pathlib import Path

_PROC = Path("/proc")
_SESSION_FIELD = 3  # of what follows the name in a process's `stat`


def used_by_session(leader: int) -> int:
    """Return the bytes that the processes of a session use; shared pages count in parts."""
    return sum(_used_by(process) for process in _PROC.glob("[0-9]*") if _leads(leader, process))


def kills_for_want_of_memory() -> int:
    """Return how many processes the kernel has killed for want of memory since it started."""
    lines = (line.split() for line in (_PROC / "vmstat").read_text().splitlines())
    return next((int(count) for name, count in lines if name == "oom_kill"), 0)


def _leads(leader: int, process: Path) -> bool:
    try:
        # The name, in brackets, may hold anything.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[_SESSION_FIELD]) == leader


def _used_by(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
