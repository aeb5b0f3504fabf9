"""The states of searches and trials, as rows and answers carry them."""

from enum import StrEnum


class SearchState(StrEnum):
    PREPARING = "preparing"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


LIVE_STATES = (SearchState.PREPARING, SearchState.QUEUED, SearchState.RUNNING)


ENDED_STATES = (SearchState.COMPLETED, SearchState.CANCELLED, SearchState.FAILED)


class Wanted(StrEnum):
    """What the user wants of a search, beside the state that it is in."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"
    KILL = "kill"
    DELETE = "delete"


class TrialState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDING = (Wanted.CANCEL, Wanted.KILL)
"""Nothing new is wanted of the search, and what waits is not wanted any more."""


FINISHED = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED, TrialState.CANCELLED)


UNFINISHED = (TrialState.WAITING, TrialState.RUNNING)
