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
from service.core import Core
from service.entry import summary
from service.errors import Fault, Invalid, LeaseLost
from service.life import SEARCH_CANCELLED, fail, plan, settle, stop_for_a_while
from service.objectives import unmeasured, values
from service.proposals import tell
from service.store import attempts, events, searches, trials, workers
from service.store.database import now
from service.store.models import ENDING, Attempt, Bench, Search, Trial, TrialState, Wanted
from service.turn import Turn, take_turn

WENT_SILENT = Outcome(
    outcome=OutcomeKind.FAILED,
    failure=FailureClass.LOST,
    message="the worker fell silent and its lease ran out",
)

RETRIES_WITH_LESS_MEMORY = 1

KILLED = Outcome(outcome=OutcomeKind.RELEASED, message="told to end, since the search was killed")


def heartbeat(core: Core, worker_id: str, beat: Heartbeat) -> HeartbeatReply:
    """Renew a worker's leases; `cancel` stands for those that are not its own any more."""
    with core.database.write() as session:
        workers.seen(session, worker_id, beat.boot_id)
        seconds = core.settings.lease_seconds
        renewed = attempts.renew(session, beat.leases, boot_id=beat.boot_id, seconds=seconds)
        attempts.begin_anew(session, renewed.intersection(beat.waiting))
        killed = attempts.of_killed(session, renewed)
    for lease, search_id in killed:
        _end_killed(core, lease, search_id)
    renewed -= {lease for lease, _ in killed}
    return HeartbeatReply(
        leases={
            lease: Verdict.CONTINUE if lease in renewed else Verdict.CANCEL for lease in beat.leases
        }
    )


def conclude(core: Core, lease: str, outcome: Outcome) -> None:
    """Take in the last word on an attempt. Saying it again changes nothing.

    Raises:
        LeaseLost: If the attempt has ended otherwise.
        Invalid: If the outcome contradicts itself.
    """
    _check(outcome)
    with core.database.read() as session:
        search_id = attempts.search_of(session, lease)
    with take_turn(core, search_id) as turn:
        known = attempts.find(turn.session, lease)
        said = (outcome.outcome, outcome.failure)
        if known is not None and (known.outcome, known.failure) == said:
            return
        attempt, trial = attempts.current(turn.session, lease)
        completed = outcome.outcome == OutcomeKind.COMPLETED
        if completed and trial.kind == TrialKind.INSPECTION and outcome.plan is None:
            raise Invalid([Fault("plan", "an inspection completes with the plan it found")])
        end_attempt(turn, trial, attempt, outcome)


def lost(turn: Turn, trial: Trial) -> bool:
    """Decide on a trial whose attempt was lost; return whether it has ended for good.

    Losing a trial says nothing about it, unless it takes its worker down every time.
    """
    limit = turn.search.budget_failures
    if attempts.fruitless_losses(turn.session, trial.id) < limit:
        return False
    reason = f"lost {limit} times in a row without a single report"
    _fail_trial(turn, trial, FailureClass.LOST, reason)
    return True


def end_attempt(turn: Turn, trial: Trial, attempt: Attempt, outcome: Outcome) -> None:
    """Note how an attempt ended, and decide what becomes of its trial and search."""
    attempts.end(turn.session, attempt, outcome.outcome, outcome.failure, outcome.message)
    match outcome.outcome:
        case OutcomeKind.COMPLETED if outcome.plan is not None:
            _finish(turn, trial, TrialState.COMPLETED)
            if turn.search.wanted not in ENDING:
                plan(turn, outcome.plan)
        case OutcomeKind.COMPLETED | OutcomeKind.STOPPED if trial.value is None:
            reason = "ended without a single report"
            _fail_trial(turn, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED if _lacks_test_data(turn, trial, outcome):
            metric = test_metric(metric_in(turn.search.document))
            reason = f"a confirmation reports {metric}: call t.report_test({metric}=...)"
            _fail_trial(turn, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED if missing := unmeasured(turn.search, trial):
            reason = f"{', '.join(missing)} is an objective and was not measured"
            _fail_trial(turn, trial, FailureClass.USER_ERROR, reason)
        case OutcomeKind.COMPLETED | OutcomeKind.STOPPED:
            trial.test = outcome.test or None
            trial.reason = "\n".join(filter(None, (trial.reason, outcome.message))) or None
            turn.search.failures_in_a_row = 0
            _finish(turn, trial, TrialState(outcome.outcome.value))
        case OutcomeKind.RELEASED:
            _wait_again(turn, trial)
        case OutcomeKind.FAILED:
            assert outcome.failure is not None
            _failed(turn, trial, attempt, outcome.failure)
    settle(turn)


def _lacks_test_data(turn: Turn, trial: Trial, outcome: Outcome) -> bool:
    metric = test_metric(metric_in(turn.search.document))
    return trial.kind == TrialKind.CONFIRMATION and metric not in outcome.test


def _check(outcome: Outcome) -> None:
    failed = outcome.outcome == OutcomeKind.FAILED
    if failed and outcome.failure is None:
        known = ", ".join(FailureClass)
        raise Invalid([Fault("failure", f"a failed attempt names its class: {known}")])
    if not failed and outcome.failure is not None:
        message = f"only a failed attempt has a class, this one {outcome.outcome.value}"
        raise Invalid([Fault("failure", message, outcome.failure.value)])


def _failed(turn: Turn, trial: Trial, attempt: Attempt, failure: FailureClass) -> None:
    """Apply the rule of a failure's class."""
    match failure:
        case FailureClass.PREEMPTED:
            _wait_again(turn, trial)
        case FailureClass.LOST:
            if not lost(turn, trial):
                _wait_again(turn, trial)
        case FailureClass.ENVIRONMENT:
            _environment(turn, trial, attempt)
        case FailureClass.OUT_OF_MEMORY if (
            attempts.failed_by(turn.session, trial.id, failure) <= RETRIES_WITH_LESS_MEMORY
        ):
            _wait_again(turn, trial)
        case _:
            _fail_trial(turn, trial, failure, attempt.message or failure.value)


def _environment(turn: Turn, trial: Trial, attempt: Attempt) -> None:
    """Bench the worker; try elsewhere, or pause with the reason where there is no elsewhere."""
    session, search, reason = turn.session, turn.search, attempt.message or "no reason was given"
    if searches.benched_for(session, search.id, trial.id):
        reason = f"failed on two workers: {reason}"
        _fail_trial(turn, trial, FailureClass.USER_ERROR, reason)
        return
    session.merge(
        Bench(search_id=search.id, boot_id=attempt.boot_id, trial_id=trial.id, reason=reason)
    )
    _wait_again(turn, trial)
    if search.wanted == Wanted.RUN and not _others(turn):
        stop_for_a_while(turn, f"{first_line(reason)}; mend it, then resume the search")


def _others(turn: Turn) -> bool:
    """Whether a living worker offers the search's task, with its code, and is not benched."""
    search, lease_seconds = turn.search, turn.core.settings.lease_seconds
    return any(
        manifest.resting is None
        and not searches.benched(turn.session, search.id, worker.boot_id)
        and search.document["task"]["name"] in (codes := workers.codes(manifest))
        and workers.has_its_code(search, codes)
        for worker in workers.alive(turn.session, seconds=2 * lease_seconds)
        for manifest in [workers.manifest_of(worker)]
    )


def _wait_again(turn: Turn, trial: Trial) -> None:
    """Put a trial back in the queue, or end it when nothing more shall start."""
    if turn.search.wanted in ENDING:
        trial.value = None
        trial.reason = SEARCH_CANCELLED
        _finish(turn, trial, TrialState.CANCELLED)
    else:
        trial.state = TrialState.WAITING
        _announce(turn, trial)


def _fail_trial(turn: Turn, trial: Trial, failure: FailureClass, reason: str) -> None:
    """End a trial as failed; too many faults of the user's in a row pause the search."""
    search = turn.search
    trial.failure = failure
    trial.reason = reason
    trial.value = None
    _finish(turn, trial, TrialState.FAILED)
    if trial.kind == TrialKind.INSPECTION:
        fail(turn, f"the network could not be inspected: {reason}")
        return
    if failure != FailureClass.USER_ERROR:
        return
    search.failures_in_a_row += 1
    limit = search.budget_failures
    if search.failures_in_a_row >= limit and search.wanted == Wanted.RUN:
        count = f"{limit} trials in a row failed" if limit > 1 else "a trial failed"
        stop_for_a_while(turn, f"{count}, the last with: {first_line(reason)}")


def _finish(turn: Turn, trial: Trial, state: TrialState) -> None:
    if state == TrialState.COMPLETED and trial.step is not None:
        last = trials.first_report(turn.session, trial.id, trial.step)
        assert last is not None
        trial.values = values(turn.search, trial, last.metrics)
    trial.state = state
    trial.ended_at = now()
    turn.session.flush()
    if trial.kind != TrialKind.INSPECTION:
        tell(turn, trial)
    _announce(turn, trial)


def _announce(turn: Turn, trial: Trial) -> None:
    turn.session.flush()
    if trial.kind != TrialKind.INSPECTION:
        events.add(turn.session, turn.search, "trial", summary(trial))


def first_line(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "no reason was given"


def sweep(core: Core) -> None:
    """End the attempts that are over their time, and those that nobody will take over."""
    with core.database.read() as session:
        time = searches.clock(session)
        still_open = attempts.open_attempts(session)
        there = searches.there(session, {search_id for *_, search_id in still_open})
        overdue = [
            (lease, search_id)
            for lease, times, search_id in still_open
            if search_id in there
            and _verdict_of_time(core, there[search_id], times, time) is not None
        ]
        limited = searches.with_budget_of_hours(session)
    for lease, search_id in overdue:
        _end_overdue(core, lease, search_id)
    for search_id in limited:
        with take_turn(core, search_id) as turn:
            settle(turn)


def _end_killed(core: Core, lease: str, search_id: str) -> None:
    with take_turn(core, search_id) as turn:
        try:
            attempt, trial = attempts.current(turn.session, lease)
        except LeaseLost:
            return  # It ended between the look and the turn.
        end_attempt(turn, trial, attempt, KILLED)


def _end_overdue(core: Core, lease: str, search_id: str) -> None:
    with take_turn(core, search_id) as turn:
        try:
            attempt, trial = attempts.current(turn.session, lease)
        except LeaseLost:
            return  # It ended between the look and the turn.
        time = searches.clock(turn.session)
        times = attempts.Times(attempt.started_at, attempt.spoke_at, attempt.expires_at)
        outcome = _verdict_of_time(core, turn.search, times, time)
        if outcome is not None:
            end_attempt(turn, trial, attempt, outcome)


def _verdict_of_time(
    core: Core, search: Search, times: attempts.Times, time: float
) -> Outcome | None:
    """Return how an attempt ends that is over its time, or None while it may go on."""
    timeout, stall = search.document["timeout"], search.document["stall"]
    if timeout is not None and time > times.started_at + timeout:
        return _over_time(f"took longer than the timeout of {timeout:g} s")
    grace_is_over = time > core.started_at + core.settings.lease_seconds
    silent = times.expires_at < time
    if silent and grace_is_over and search.wanted != Wanted.RUN:
        return WENT_SILENT
    if not silent and time > max(times.spoke_at, core.started_at) + stall:
        return _over_time(f"said nothing for {stall:g} s (stall)")
    return None


def _over_time(message: str) -> Outcome:
    return Outcome(outcome=OutcomeKind.FAILED, failure=FailureClass.TIMEOUT, message=message)
