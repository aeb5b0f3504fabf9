"""Folders in which trials may keep what their next attempt on the same worker can use."""

import hashlib
import shutil
import time
from pathlib import Path

from search_space.contract import FailureClass, Outcome, OutcomeKind

_KEPT_SECONDS = 7 * 86400.0
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


def sweep(home: Path) -> None:
    """Remove the folders of trials that went on elsewhere: those not used for a week."""
    old = time.time() - _KEPT_SECONDS
    for folder in (home / "trials").glob("*"):
        if folder.stat().st_mtime < old:
            shutil.rmtree(folder, ignore_errors=True)
