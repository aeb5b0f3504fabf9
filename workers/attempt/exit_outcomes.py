"""The outcome that an agent sends for a process that ended without sending one."""

import contextlib
import os
import signal
from pathlib import Path

from search_space.contract import FailureClass, Outcome, OutcomeKind, TrialKind
from workers.attempt.masking import Mask

SERVICE_AWAY = 75
"""Exit code of a trial that could not reach the service to send its outcome."""
_LOG_BYTES = 8000
_ENDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_CRASHED = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
# A shell, and torchrun, exit with 128 plus the signal that ended what they ran.
_REPORTED_BY_A_SHELL = (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, *_CRASHED)

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


def write_failure(lease_file: Path, outcome: Outcome) -> None:
    """Write beside the lease file how one rank of a trial failed; the first one wins."""
    # "x" fails if the file exists: what fails later is mostly a consequence of the first failure.
    with contextlib.suppress(FileExistsError), _failure_file(lease_file).open("x") as file:
        file.write(outcome.model_dump_json())


def read_failure(lease_file: Path, code: int) -> Outcome | None:
    """Return what `write_failure` wrote, and remove it.

    None if the exit code says that a rank was killed or crashed: the others have then only seen
    that it was gone, and what they wrote is not the cause.
    """
    path = _failure_file(lease_file)
    if not path.exists():
        return None
    outcome = Outcome.model_validate_json(path.read_bytes())
    path.unlink()
    return None if _signal_of(code) in (signal.SIGKILL, *_CRASHED) else outcome


def _failure_file(lease_file: Path) -> Path:
    return lease_file.with_suffix(".failed")


def preempted() -> Outcome:
    """Return the outcome of an attempt that the stop of its worker ended."""
    return failed(FailureClass.PREEMPTED, "the worker was stopped")


def failed(failure: FailureClass, message: str) -> Outcome:
    """Return the outcome of an attempt that failed."""
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
    return next((number for number in _REPORTED_BY_A_SHELL if code == 128 + number), None)


def _tail(log: Path) -> str:
    try:
        data = log.read_bytes()[-_LOG_BYTES:]
    except FileNotFoundError:
        return ""
    return Mask(os.environ)(data).decode(errors="replace")
