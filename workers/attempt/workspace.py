"""Folders of trials in a worker's home, and the removal of files that nobody needs any more."""

import hashlib
import shutil
import time
from pathlib import Path

from search_space.contract import FailureClass, Outcome, OutcomeKind

_UNUSED_SECONDS = 7 * 86400.0
_YOUNG_SECONDS = 60.0
_RETRIED = (
    FailureClass.LOST,
    FailureClass.PREEMPTED,
    FailureClass.ENVIRONMENT,
    FailureClass.OUT_OF_MEMORY,
)


def folder_of(home: Path, trial: str) -> Path:
    """Return the folder of a trial, which may not exist yet."""
    # The id comes from the service and may hold any character, so it is no safe file name.
    return home / "trials" / hashlib.sha256(trial.encode()).hexdigest()[:32]


def is_retried(outcome: Outcome | None) -> bool:
    """Whether another attempt may follow; None: an outcome that the service does not want."""
    if outcome is None:
        return False
    released = outcome.outcome is OutcomeKind.RELEASED
    return released or outcome.failure in _RETRIED


def remove_stale_files(home: Path, *, only_worker: bool) -> None:
    """Remove the folders of trials that were not used for a week, and files of killed workers.

    Args:
        only_worker: No other worker uses `home`, so files of attempts are of killed workers.
    """
    for folder in (*(home / "trials").glob("*"), *home.glob("trial-*")):
        if _unused(folder, _UNUSED_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
    if only_worker:
        for path in (*(home / "leases").glob("*"), *(home / "logs").glob("*")):
            # A worker that starts at this moment may have begun its first attempt.
            if _unused(path, _YOUNG_SECONDS):
                path.unlink(missing_ok=True)


def _unused(path: Path, seconds: float) -> bool:
    try:
        return path.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:
        return False
