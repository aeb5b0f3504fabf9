"""What trials leave in a worker's home: folders for their next attempts, and what killed workers
could not remove.
"""

import hashlib
import shutil
import time
from pathlib import Path

from search_space.contract import FailureClass, Outcome, OutcomeKind

_KEPT_SECONDS = 7 * 86400.0
_YOUNG_SECONDS = 60.0
_TRIED_AGAIN = (
    FailureClass.LOST,
    FailureClass.PREEMPTED,
    FailureClass.ENVIRONMENT,
    FailureClass.OUT_OF_MEMORY,
)


def folder_of(home: Path, trial: str) -> Path:
    """Return the folder of a trial, which may not be there yet."""
    # An id comes from outside, so it is no name of a file.
    return home / "trials" / hashlib.sha256(trial.encode()).hexdigest()[:32]


def is_kept(outcome: Outcome | None) -> bool:
    """Whether another attempt may follow; None: nobody waits for this one any more."""
    if outcome is None:
        return False
    released = outcome.outcome is OutcomeKind.RELEASED
    return released or outcome.failure in _TRIED_AGAIN


def sweep(home: Path, *, alone: bool) -> None:
    """Remove the folders of trials that went on elsewhere: those not used for a week.

    Args:
        alone: No other worker lives here, so files of attempts are of killed ones.
    """
    for folder in (*(home / "trials").glob("*"), *home.glob("trial-*")):
        if _unused(folder, _KEPT_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
    if alone:
        for path in (*(home / "leases").glob("*"), *(home / "logs").glob("*")):
            # A worker that starts at this moment may have begun its first attempt.
            if _unused(path, _YOUNG_SECONDS):
                path.unlink(missing_ok=True)


def _unused(path: Path, seconds: float) -> bool:
    try:
        return path.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:
        return False
