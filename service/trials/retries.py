"""The retry rules: what becomes of a trial whose attempt failed, by the class of the failure.

preempted:      retry
lost:           retry; after `budget.failures` losses in a row without a report, fail the trial
out_of_memory:  retry once with smaller batches, then fail the trial
environment:    retry on another worker, or pause the search if there is none; the second time fail
any other:      fail the trial; `budget.failures` user errors in a row pause the search
"""

from search_space.contract import FailureClass, Outcome, OutcomeKind, TrialKind
from service.results.objectives import values
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import ENDING, TrialState, Wanted
from service.searches.lifecycle import SEARCH_CANCELLED, fail, pause_because
from service.store import attempts, searches, trial_reports, workers
from service.store.database import now
from service.store.models import Attempt, Bench, Trial
from service.trials.study_sync import tell

LEASE_EXPIRED = Outcome(
    outcome=OutcomeKind.FAILED,
    failure=FailureClass.LOST,
    message="the worker sent no heartbeat, and its lease expired",
)

OUT_OF_MEMORY_RETRIES = 1


def retry_or_fail(unit: UnitOfWork, trial: Trial, attempt: Attempt, failure: FailureClass) -> None:
    """Apply the rule of a failure's class to the trial of a failed attempt."""
    match failure:
        case FailureClass.PREEMPTED:
            requeue(unit, trial)
        case FailureClass.LOST:
            if not fail_if_lost_too_often(unit, trial):
                requeue(unit, trial)
        case FailureClass.ENVIRONMENT:
            _retry_on_another_worker(unit, trial, attempt)
        case FailureClass.OUT_OF_MEMORY if (
            attempts.failed_by(unit.session, trial.id, failure) <= OUT_OF_MEMORY_RETRIES
        ):
            requeue(unit, trial)
        case _:
            fail_trial(unit, trial, failure, attempt.message or failure.value)


def fail_if_lost_too_often(unit: UnitOfWork, trial: Trial) -> bool:
    """Fail a trial if too many of its attempts were lost; return whether it was failed.

    A lost attempt usually says nothing about the trial: the worker was stopped or cut off. Only a
    trial that was lost several times in a row before its first report may itself crash its worker.
    """
    limit = unit.search.budget_failures
    if attempts.losses_without_report(unit.session, trial.id) < limit:
        return False
    reason = f"lost {limit} times in a row without a single report"
    fail_trial(unit, trial, FailureClass.LOST, reason)
    return True


def requeue(unit: UnitOfWork, trial: Trial) -> None:
    """Let a trial wait for its next attempt, or cancel it if the search is ending."""
    if unit.search.wanted in ENDING:
        trial.value = None
        trial.reason = SEARCH_CANCELLED
        finish_trial(unit, trial, TrialState.CANCELLED)
    else:
        trial.state = TrialState.WAITING
        unit.publish_trial(trial)


def fail_trial(unit: UnitOfWork, trial: Trial, failure: FailureClass, reason: str) -> None:
    """End a trial as failed. Too many user errors in a row pause the search."""
    search = unit.search
    trial.failure = failure
    trial.reason = reason
    trial.value = None
    finish_trial(unit, trial, TrialState.FAILED)
    if trial.kind == TrialKind.INSPECTION:
        fail(unit, f"the network could not be inspected: {reason}")
        return
    # Other failures say something about the candidate, and the search goes on without it.
    if failure != FailureClass.USER_ERROR:
        return
    search.failures_in_a_row += 1
    limit = search.budget_failures
    if search.failures_in_a_row >= limit and search.wanted == Wanted.RUN:
        count = f"{limit} trials in a row failed" if limit > 1 else "a trial failed"
        pause_because(unit, f"{count}, the last with: {_first_line(reason)}")


def finish_trial(unit: UnitOfWork, trial: Trial, state: TrialState) -> None:
    """Move a trial to its last state, and tell the study."""
    if state == TrialState.COMPLETED and trial.step is not None:
        last = trial_reports.first_of_step(unit.session, trial.id, trial.step)
        assert last is not None
        trial.values = values(unit.search, trial, last.metrics)
    trial.state = state
    trial.ended_at = now()
    # `tell` reads the rows of the candidate, this one included.
    unit.session.flush()
    if trial.kind != TrialKind.INSPECTION:
        tell(unit, trial)
    unit.publish_trial(trial)


def _retry_on_another_worker(unit: UnitOfWork, trial: Trial, attempt: Attempt) -> None:
    """Bench the worker and retry the trial; pause the search if no other worker can take it."""
    session, search, reason = unit.session, unit.search, attempt.message or "no reason was given"
    if searches.has_bench_of_trial(session, search.id, trial.id):
        # The second worker fails in the same way: the cause is the trial, not the machines.
        reason = f"failed on two workers: {reason}"
        fail_trial(unit, trial, FailureClass.USER_ERROR, reason)
        return
    session.merge(
        Bench(search_id=search.id, boot_id=attempt.boot_id, trial_id=trial.id, reason=reason)
    )
    requeue(unit, trial)
    if search.wanted == Wanted.RUN and not _has_able_worker(unit):
        pause_because(unit, f"{_first_line(reason)}; fix it, then resume the search")


def _has_able_worker(unit: UnitOfWork) -> bool:
    """Whether a live worker offers the search's task, with its code, and is not benched."""
    search, lease_seconds = unit.search, unit.context.settings.lease_seconds
    return any(
        manifest.resting is None
        and not searches.is_benched(unit.session, search.id, worker.boot_id)
        and search.document["task"]["name"] in (codes := workers.codes(manifest))
        and workers.has_its_code(search, codes)
        for worker in workers.alive(unit.session, seconds=2 * lease_seconds)
        for manifest in [workers.manifest_of(worker)]
    )


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason was given"
