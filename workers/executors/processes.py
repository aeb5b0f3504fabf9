"""Which processes are a trial's, whatever sessions they have made. From /proc.

torchrun starts every rank in a session of its own, and what is started by one that ends has
another parent; but all inherit the name of the trial's lease file.
"""

import contextlib
import os
import signal
from pathlib import Path

from workers.environment import LEASE_FILE

_PROC = Path("/proc")
_SESSION_FIELD = 3  # of what follows the name in a process's `stat`


def processes_of(leader: int, lease_file: Path) -> dict[int, int]:
    """Return the session of each process that is in the leader's or knows the lease file."""
    mark = f"{LEASE_FILE}={lease_file}".encode()
    sessions = {int(name): _session(name) for name in os.listdir(_PROC) if name.isdecimal()}
    return {
        pid: session
        for pid, session in sessions.items()
        if session is not None and (session == leader or mark in _environment(pid))
    }


def end_all(leader: int, lease_file: Path, *, spared: int | None = None) -> None:
    """Kill what `processes_of` finds, the leader's own session last.

    All are stopped before the first is killed, so that none starts another meanwhile, or tells
    of another's end as of its own failure.
    """
    found: dict[int, int] = {}
    while new := processes_of(leader, lease_file).items() - found.items():
        found |= new
        for pid in dict(new).keys() - {spared}:
            _signal(pid, signal.SIGSTOP)
    for pid in sorted(found.keys() - {spared}, key=lambda pid: found[pid] == leader):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _session(process: str) -> int | None:
    try:
        # The name, in brackets, may hold anything.
        fields = (_PROC / process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[_SESSION_FIELD])


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
