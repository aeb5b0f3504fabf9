"""The end of an attempt, and what it means for its trial and its search."""

from collections.abc import Callable

from search_space.contract import FailureClass, Outcome, OutcomeKind, TrialKind, test_metric
from search_space.search import metric_in
from service.errors import Fault, Invalid, LeaseLost
from service.results.objectives import unmeasured
from service.runtime.context import Context
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import ENDING, TrialState
from service.searches.lifecycle import finish_if_done, plan
from service.store import attempts
from service.store.models import Attempt, Trial
from service.trials.retries import fail_trial, finish_trial, requeue, retry_or_fail

KILLED = Outcome(outcome=OutcomeKind.RELEASED, message="stopped, since the search was killed")


def record_outcome(context: Context, lease: str, outcome: Outcome) -> None:
    """Store how an attempt ended. The same outcome again changes nothing.

    Raises:
        LeaseLost: If the attempt has ended with another outcome.
        Invalid: If the outcome contradicts itself.
    """
    _check(outcome)
    with context.database.read() as session:
        search_id = attempts.search_of(session, lease)
    with unit_of_work(context, search_id) as unit:
        known = attempts.find(unit.session, lease)
        # A worker that got no answer sends the outcome again.
        sent = (outcome.outcome, outcome.failure)
        if known is not None and (known.outcome, known.failure) == sent:
            return
        attempt, trial = attempts.current(unit.session, lease)
        completed = outcome.outcome == OutcomeKind.COMPLETED
        if completed and trial.kind == TrialKind.INSPECTION and outcome.plan is None:
            raise Invalid([Fault("plan", "an inspection completes with the plan it found")])
        end_attempt(unit, trial, attempt, outcome)


def end_attempt(unit: UnitOfWork, trial: Trial, attempt: Attempt, outcome: Outcome) -> None:
    """Store how an attempt ended, and decide what becomes of its trial and search."""
    attempts.end(unit.session, attempt, outcome.outcome, outcome.failure, outcome.message)
    match outcome.outcome:
        case OutcomeKind.RELEASED:
            requeue(unit, trial)
        case OutcomeKind.FAILED:
            assert outcome.failure is not None
            retry_or_fail(unit, trial, attempt, outcome.failure)
        case OutcomeKind.COMPLETED if outcome.plan is not None:
            finish_trial(unit, trial, TrialState.COMPLETED)
            if unit.search.wanted not in ENDING:
                plan(unit, outcome.plan)
        case OutcomeKind.COMPLETED | OutcomeKind.STOPPED:
            _finish_training(unit, trial, outcome)
    finish_if_done(unit)


def end_open_attempt(
    context: Context,
    lease: str,
    search_id: str,
    outcome_of: Callable[[UnitOfWork, Attempt], Outcome | None],
) -> None:
    """End an attempt with the outcome that `outcome_of` returns, unless that is None.

    The caller found the attempt in an earlier transaction; it may have ended since then.
    """
    with unit_of_work(context, search_id) as unit:
        try:
            attempt, trial = attempts.current(unit.session, lease)
        except LeaseLost:
            return
        outcome = outcome_of(unit, attempt)
        if outcome is not None:
            end_attempt(unit, trial, attempt, outcome)


def _finish_training(unit: UnitOfWork, trial: Trial, outcome: Outcome) -> None:
    """Finish a trial that was trained, or fail it if results are missing."""
    missing = _missing_results(unit, trial, outcome)
    if missing is not None:
        fail_trial(unit, trial, FailureClass.USER_ERROR, missing)
        return
    trial.test = outcome.test or None
    trial.reason = "\n".join(filter(None, (trial.reason, outcome.message))) or None
    unit.search.failures_in_a_row = 0
    finish_trial(unit, trial, TrialState(outcome.outcome.value))


def _missing_results(unit: UnitOfWork, trial: Trial, outcome: Outcome) -> str | None:
    """Return which result the task's code should have reported and did not, or None."""
    if trial.value is None:
        return "ended without a single report"
    if outcome.outcome == OutcomeKind.STOPPED:
        return None
    metric = test_metric(metric_in(unit.search.document))
    if trial.kind == TrialKind.CONFIRMATION and metric not in outcome.test:
        return f"a confirmation reports {metric}: call t.report_test({metric}=...)"
    if missing := unmeasured(unit.search, trial):
        return f"{', '.join(missing)} is an objective and was not measured"
    return None


def _check(outcome: Outcome) -> None:
    failed = outcome.outcome == OutcomeKind.FAILED
    if failed and outcome.failure is None:
        known = ", ".join(FailureClass)
        raise Invalid([Fault("failure", f"a failed attempt names its class: {known}")])
    if not failed and outcome.failure is not None:
        message = f"only a failed attempt has a class, this one {outcome.outcome.value}"
        raise Invalid([Fault("failure", message, outcome.failure.value)])
