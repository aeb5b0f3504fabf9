"""What an agent says for a process that ended without having said how."""

import contextlib
import os
import signal
from pathlib import Path

from search_space.contract import FailureClass, Outcome, OutcomeKind, TrialKind
from workers.attempt.masking import Mask

# What a trial exits with when the service was away for too long to be told anything.
SERVICE_AWAY = 75
_LOG_BYTES = 8000
_ENDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_CRASHED = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# A shell, and torchrun, end with 128 and the signal that ended what they ran.
_TOLD_BY_A_SHELL = (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, *_CRASHED)

_SILENT = {
    TrialKind.INSPECTION: "the script ended without having called apply on actsearch.trial()",
}
_SILENT_TRIAL = "the script ended with exit code 0 and never used actsearch.trial()"


def outcome_of(code: int, kind: TrialKind, log: Path) -> Outcome:
    """Return the outcome of a process by its exit code, negative for a signal."""
    number = _signal_of(code)
    if number is signal.SIGKILL:
        message = "the process was killed by SIGKILL, from outside or for want of memory"
        return failed(FailureClass.LOST, message)
    if number in _ENDED:
        return failed(FailureClass.LOST, f"the process was ended by {number.name}, from outside")
    if code == SERVICE_AWAY:
        return failed(FailureClass.LOST, "the trial could not reach the service for too long")
    return failed(FailureClass.USER_ERROR, f"{_sentence(code, kind)}\n\n{_tail(log)}".strip())


def was_killed(code: int) -> bool:
    """Whether an exit code says that the process, or what it ran, was ended by SIGKILL."""
    return _signal_of(code) is signal.SIGKILL


def leave_behind(lease_file: Path, outcome: Outcome) -> None:
    """Write beside the lease file how a process failed that does not speak with the service."""
    with contextlib.suppress(FileExistsError), _left(lease_file).open("x") as file:
        file.write(outcome.model_dump_json())


def left_behind(lease_file: Path, code: int) -> Outcome | None:
    """Return, once, what the first such process has written.

    Where the exit code says that one of them was killed or crashed, nothing: then the others have
    only seen that it was gone.
    """
    path = _left(lease_file)
    if not path.exists():
        return None
    outcome = Outcome.model_validate_json(path.read_bytes())
    path.unlink()
    return None if _signal_of(code) in (signal.SIGKILL, *_CRASHED) else outcome


def _left(lease_file: Path) -> Path:
    return lease_file.with_suffix(".failed")


def preempted() -> Outcome:
    return failed(FailureClass.PREEMPTED, "the worker was stopped")


def failed(failure: FailureClass, message: str) -> Outcome:
    return Outcome(outcome=OutcomeKind.FAILED, failure=failure, message=message)


def _sentence(code: int, kind: TrialKind) -> str:
    if code == 0:
        return _SILENT.get(kind, _SILENT_TRIAL)
    if (number := _signal_of(code)) is not None:
        return f"the process was ended by {number.name}"
    return f"the process ended with exit code {code}"


def _signal_of(code: int) -> signal.Signals | None:
    if code < 0:
        return signal.Signals(-code)
    return next((number for number in _TOLD_BY_A_SHELL if code == 128 + number), None)


def _tail(log: Path) -> str:
    try:
        data = log.read_bytes()[-_LOG_BYTES:]
    except FileNotFoundError:
        return ""
    return Mask(os.environ)(data).decode(errors="replace")
