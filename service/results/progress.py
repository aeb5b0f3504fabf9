"""The progress of a search: trainings that have ended, trainings in all, and the time left."""

import math
from typing import Any

from search_space.contract import TrialKind
from search_space.search_sections import Confirm
from service.results.confirmation import Confirmation, max_trials
from service.schemas.searches import Progress
from service.schemas.states import ENDED_STATES, SearchState, TrialState
from service.store.models import Search
from service.store.tallies import Tally


def progress(search: Search, tally: Tally, confirmation: Confirmation) -> Progress:
    """Return how many trainings have ended, how many there will be, and how long that will take."""
    finished = tally.finished
    total = (
        _baselines(search, tally)
        + search.budget
        + _confirmations(confirmation)
        + _outside_budget(tally)
    )
    if search.state in ENDED_STATES:
        # It may have ended before its budget was spent.
        total = finished
    return Progress(
        finished=finished,
        total=total,
        running=tally.by_state.get(TrialState.RUNNING.value, 0),
        eta_seconds=_eta(search, tally, finished, total),
    )


def _eta(search: Search, tally: Tally, finished: int, total: int) -> float | None:
    """Return how long the rest will take at the pace so far, in seconds; pauses count."""
    if search.state != SearchState.RUNNING or search.started_at is None or finished == 0:
        return None
    # Up to the last end of a trial: between two ends the pace would seem to fall.
    elapsed = 0.0 if tally.last_ended is None else tally.last_ended - search.started_at
    rest = elapsed / finished * (total - finished)
    return rest if math.isfinite(rest) else None


def _baselines(search: Search, tally: Tally) -> int:
    """Return how many baselines there are, or will be once the network has been inspected."""
    if search.plan is not None:
        return tally.of_kind(TrialKind.BASELINE)
    document: dict[str, Any] = search.document
    uniform = len(document["choices"]) if document["baselines"]["uniform"] else 0
    return int(document["baselines"]["original_seeds"]) + uniform


def _outside_budget(tally: Tally) -> int:
    """Count manual trials, those of an earlier search, and those of a superseded confirmation."""
    return tally.count(
        lambda group: group.kind in (TrialKind.MANUAL, TrialKind.EARLIER) or group.is_superseded
    )


def _confirmations(confirmation: Confirmation) -> int:
    """Return how many trainings the confirmation takes: at most, until they have been added."""
    document = confirmation.search.document
    if not document.get("confirm"):
        return 0
    if confirmation.is_planned:
        return len(confirmation.trials)
    confirm = Confirm.model_validate(document["confirm"])
    return max_trials(confirm, uniform=document["baselines"]["uniform"])
