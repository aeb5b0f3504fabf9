"""What attempts say: signs of life, the last word, silence. Each becomes a decision."""

from search_space.contract import (
    FailureClass,
    Heartbeat,
    HeartbeatReply,
    Outcome,
    OutcomeKind,
    TrialKind,
    Verdict,
    test_metric,
)
from search_space.search import metric_in
from service.errors import Fault, Invalid, LeaseLost
from service.results.objectives import unmeasured, values
from service.runtime.context import Context
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import ENDING, TrialState, Wanted
from service.searches.lifecycle import SEARCH_CANCELLED, fail, finish_if_done, pause_because, plan
from service.store import attempts, searches, trials, workers
from service.store.database import now
from service.store.models import Attempt, Bench, Search, Trial
from service.trials.study_sync import tell

WENT_SILENT = Outcome(
    outcome=OutcomeKind.FAILED,
    failure=FailureClass.LOST,
    message="the worker fell silent and its lease ran out",
)

RETRIES_WITH_LESS_MEMORY = 1

KILLED = Outcome(outcome=OutcomeKind.RELEASED, message="told to end, since the search was killed")


def heartbeat(context: Context, worker_id: str, beat: Heartbeat) -> HeartbeatReply:
    """Renew a worker's leases; `cancel` stands for those that are not its own any more."""
    with context.database.write() as session:
        workers.seen(session, worker_id, beat.boot_id)
        seconds = context.settings.lease_seconds
        renewed = attempts.renew(session, beat.leases, boot_id=beat.boot_id, seconds=seconds)
        attempts.begin_anew(session, renewed.intersection(beat.waiting))
        killed = attempts.of_killed(session, renewed)
    for lease, search_id in killed:
        _end_killed(context, lease, search_id)
    renewed -= {lease for lease, _ in killed}
    return HeartbeatReply(
        leases={
            lease: Verdict.CONTINUE if lease in renewed else Verdict.CANCEL for lease in beat.leases
        }
    )


def record_outcome(context: Context, lease: str, outcome: Outcome) -> None:
    """Take in the last word on an attempt. Saying it again changes nothing.

    Raises:
        LeaseLost: If the attempt has ended otherwise.
        Invalid: If the outcome contradicts itself.
    """
    _check(outcome)
    with context.database.read() as session:
        search_id = attempts.search_of(session, lease)
    with unit_of_work(context, search_id) as unit:
        known = attempts.find(unit.session, lease)
        said = (outcome.outcome, outcome.failure)
        if known is not None and (known.outcome, known.failure) == said:
            return
        attempt, trial = attempts.current(unit.session, lease)
        completed = outcome.outcome == OutcomeKind.COMPLETED
        if completed and trial.kind == TrialKind.INSPECTION and outcome.plan is None:
            raise Invalid([Fault("plan", "an inspection completes with the plan it found")])
        end_attempt(unit, trial, attempt, outcome)


def record_loss(unit: UnitOfWork, trial: Trial) -> bool:
    """Decide on a trial whose attempt was lost; return whether it has ended for good.

    Losing a trial says nothing about it, unless it takes its worker down every time.
    """
    limit = unit.search.budget_failures
    if attempts.fruitless_losses(unit.session, trial.id) < limit:
        return False
    reason = f"lost {limit} times in a row without a single report"
    _fail_trial(unit, trial, FailureClass.LOST, reason)
    return True


def end_attempt(unit: UnitOfWork, trial: Trial, attempt: Attempt, outcome: Outcome) -> None:
    """Note how an attempt ended, and decide what becomes of its trial and search."""
    attempts.end(unit.session, attempt, outcome.outcome, outcome.failure, outcome.message)
    match outcome.outcome:
        case OutcomeKind.COMPLETED if outcome.plan is not None:
            _finish(unit, trial, TrialState.COMPLETED)
            if unit.search.wanted not in ENDING:
                plan(unit, outcome.plan)
        case OutcomeKind.COMPLETED | OutcomeKind.STOPPED if trial.value is None:
            reason = "ended without a single report"
            _fail_trial(unit, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED if _lacks_test_data(unit, trial, outcome):
            metric = test_metric(metric_in(unit.search.document))
            reason = f"a confirmation reports {metric}: call t.report_test({metric}=...)"
            _fail_trial(unit, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED if missing := unmeasured(unit.search, trial):
            reason = f"{', '.join(missing)} is an objective and was not measured"
            _fail_trial(unit, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED | OutcomeKind.STOPPED:
            trial.test = outcome.test or None
            trial.reason = "\n".join(filter(None, (trial.reason, outcome.message))) or None
            unit.search.failures_in_a_row = 0
            _finish(unit, trial, TrialState(outcome.outcome.value))
        case OutcomeKind.RELEASED:
            _wait_again(unit, trial)
        case OutcomeKind.FAILED:
            assert outcome.failure is not None
            _failed(unit, trial, attempt, outcome.failure)
    finish_if_done(unit)


def _lacks_test_data(unit: UnitOfWork, trial: Trial, outcome: Outcome) -> bool:
    metric = test_metric(metric_in(unit.search.document))
    return trial.kind == TrialKind.CONFIRMATION and metric not in outcome.test


def _check(outcome: Outcome) -> None:
    failed = outcome.outcome == OutcomeKind.FAILED
    if failed and outcome.failure is None:
        known = ", ".join(FailureClass)
        raise Invalid([Fault("failure", f"a failed attempt names its class: {known}")])
    if not failed and outcome.failure is not None:
        message = f"only a failed attempt has a class, this one {outcome.outcome.value}"
        raise Invalid([Fault("failure", message, outcome.failure.value)])


def _failed(unit: UnitOfWork, trial: Trial, attempt: Attempt, failure: FailureClass) -> None:
    """Apply the rule of a failure's class."""
    match failure:
        case FailureClass.PREEMPTED:
            _wait_again(unit, trial)
        case FailureClass.LOST:
            if not record_loss(unit, trial):
                _wait_again(unit, trial)
        case FailureClass.ENVIRONMENT:
            _environment(unit, trial, attempt)
        case FailureClass.OUT_OF_MEMORY if (
            attempts.failed_by(unit.session, trial.id, failure) <= RETRIES_WITH_LESS_MEMORY
        ):
            _wait_again(unit, trial)
        case _:
            _fail_trial(unit, trial, failure, attempt.message or failure.value)


def _environment(unit: UnitOfWork, trial: Trial, attempt: Attempt) -> None:
    """Bench the worker; try elsewhere, or pause with the reason where there is no elsewhere."""
    session, search, reason = unit.session, unit.search, attempt.message or "no reason was given"
    if searches.benched_for(session, search.id, trial.id):
        reason = f"failed on two workers: {reason}"
        _fail_trial(unit, trial, FailureClass.USER_ERROR, reason)
        return
    session.merge(
        Bench(search_id=search.id, boot_id=attempt.boot_id, trial_id=trial.id, reason=reason)
    )
    _wait_again(unit, trial)
    if search.wanted == Wanted.RUN and not _others(unit):
        pause_because(unit, f"{first_line(reason)}; mend it, then resume the search")


def _others(unit: UnitOfWork) -> bool:
    """Whether a living worker offers the search's task, with its code, and is not benched."""
    search, lease_seconds = unit.search, unit.context.settings.lease_seconds
    return any(
        manifest.resting is None
        and not searches.benched(unit.session, search.id, worker.boot_id)
        and search.document["task"]["name"] in (codes := workers.codes(manifest))
        and workers.has_its_code(search, codes)
        for worker in workers.alive(unit.session, seconds=2 * lease_seconds)
        for manifest in [workers.manifest_of(worker)]
    )


def _wait_again(unit: UnitOfWork, trial: Trial) -> None:
    """Put a trial back in the queue, or end it when nothing more shall start."""
    if unit.search.wanted in ENDING:
        trial.value = None
        trial.reason = SEARCH_CANCELLED
        _finish(unit, trial, TrialState.CANCELLED)
    else:
        trial.state = TrialState.WAITING
        unit.publish_trial(trial)


def _fail_trial(unit: UnitOfWork, trial: Trial, failure: FailureClass, reason: str) -> None:
    """End a trial as failed; too many faults of the user's in a row pause the search."""
    search = unit.search
    trial.failure = failure
    trial.reason = reason
    trial.value = None
    _finish(unit, trial, TrialState.FAILED)
    if trial.kind == TrialKind.INSPECTION:
        fail(unit, f"the network could not be inspected: {reason}")
        return
    if failure != FailureClass.USER_ERROR:
        return
    search.failures_in_a_row += 1
    limit = search.budget_failures
    if search.failures_in_a_row >= limit and search.wanted == Wanted.RUN:
        count = f"{limit} trials in a row failed" if limit > 1 else "a trial failed"
        pause_because(unit, f"{count}, the last with: {first_line(reason)}")


def _finish(unit: UnitOfWork, trial: Trial, state: TrialState) -> None:
    if state == TrialState.COMPLETED and trial.step is not None:
        last = trials.first_report(unit.session, trial.id, trial.step)
        assert last is not None
        trial.values = values(unit.search, trial, last.metrics)
    trial.state = state
    trial.ended_at = now()
    unit.session.flush()
    if trial.kind != TrialKind.INSPECTION:
        tell(unit, trial)
    unit.publish_trial(trial)


def first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason was given"


def end_overdue_attempts(context: Context) -> None:
    """End the attempts that are over their time, and those that nobody will take over."""
    with context.database.read() as session:
        time = searches.clock(session)
        still_open = attempts.open_attempts(session)
        there = searches.there(session, {search_id for *_, search_id in still_open})
        overdue = [
            (lease, search_id)
            for lease, times, search_id in still_open
            if search_id in there
            and _verdict_of_time(context, there[search_id], times, time) is not None
        ]
        limited = searches.with_budget_of_hours(session)
    for lease, search_id in overdue:
        _end_overdue(context, lease, search_id)
    for search_id in limited:
        with unit_of_work(context, search_id) as unit:
            finish_if_done(unit)


def _end_killed(context: Context, lease: str, search_id: str) -> None:
    with unit_of_work(context, search_id) as unit:
        try:
            attempt, trial = attempts.current(unit.session, lease)
        except LeaseLost:
            return  # It ended between the look and the turn.
        end_attempt(unit, trial, attempt, KILLED)


def _end_overdue(context: Context, lease: str, search_id: str) -> None:
    with unit_of_work(context, search_id) as unit:
        try:
            attempt, trial = attempts.current(unit.session, lease)
        except LeaseLost:
            return  # It ended between the look and the turn.
        time = searches.clock(unit.session)
        times = attempts.Times(attempt.started_at, attempt.spoke_at, attempt.expires_at)
        outcome = _verdict_of_time(context, unit.search, times, time)
        if outcome is not None:
            end_attempt(unit, trial, attempt, outcome)


def _verdict_of_time(
    context: Context, search: Search, times: attempts.Times, time: float
) -> Outcome | None:
    """Return how an attempt ends that is over its time, or None while it may go on."""
    timeout, stall = search.document["timeout"], search.document["stall"]
    if timeout is not None and time > times.started_at + timeout:
        return _over_time(f"took longer than the timeout of {timeout:g} s")
    grace_is_over = time > context.started_at + context.settings.lease_seconds
    silent = times.expires_at < time
    if silent and grace_is_over and search.wanted != Wanted.RUN:
        return WENT_SILENT
    if not silent and time > max(times.spoke_at, context.started_at) + stall:
        return _over_time(f"said nothing for {stall:g} s (stall)")
    return None


def _over_time(message: str) -> Outcome:
    return Outcome(outcome=OutcomeKind.FAILED, failure=FailureClass.TIMEOUT, message=message)
