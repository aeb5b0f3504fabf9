"""The processes of a trial, in whatever session they are; and the end of them all. From /proc.

torchrun starts every rank in a session of its own, and a process whose parent has ended gets
another parent. But all inherit the environment, with the name of the trial's lease file.
"""

import contextlib
import os
import signal
from pathlib import Path

from workers.environment import LEASE_FILE

_PROC = Path("/proc")


def processes_of(leader: int, lease_file: Path) -> dict[int, int]:
    """Return the session of each process that is in the leader's or knows the lease file."""
    mark = f"{LEASE_FILE}={lease_file}".encode()
    sessions = {pid: _session(pid) for pid in map(int, filter(str.isdecimal, os.listdir(_PROC)))}
    # Both are needed: a child may clear its environment, and may make a session of its own.
    return {
        pid: session
        for pid, session in sessions.items()
        if session is not None and (session == leader or mark in _environment(pid))
    }


def end_all(leader: int, lease_file: Path, *, spared: int | None = None) -> None:
    """Kill what `processes_of` finds, the leader's own session last."""
    found: dict[int, int] = {}
    # All are stopped before the first is killed, so that none starts another one meanwhile, or
    # reports the end of another one as its own failure. Again until there are no new ones.
    while new := processes_of(leader, lease_file).items() - found.items():
        found |= new
        for pid in dict(new).keys() - {spared}:
            _signal(pid, signal.SIGSTOP)
    for pid in sorted(found.keys() - {spared}, key=lambda pid: found[pid] == leader):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        # It has ended, or is another user's.
        return []
