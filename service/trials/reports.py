"""Reports of attempts. Those of one search that arrive together are stored in one transaction."""

from collections.abc import Sequence

from search_space.contract import Report, TrialKind, Verdict
from service.errors import Fault, Invalid, LeaseLost, NotFound, ServiceError
from service.results import budget, confirmation
from service.results.early_stopping import runs_on
from service.runtime.context import Context
from service.runtime.report_batches import PendingReport
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import Wanted
from service.store import attempts, events, searches, trial_reports
from service.store.database import STORE_FAILS
from service.store.documents import document_of
from service.store.models import Attempt, Search, Trial
from service.store.models import Report as ReportRow
from service.trials.outcomes import KILLED, end_attempt
from service.trials.study_sync import study_of, tell_stop

CACHED_LEASES = 10_000
"""Leases whose search is kept in memory."""


def report(context: Context, lease: str, reports: Sequence[Report]) -> Verdict:
    """Store the reports of one request; return the verdict on the last, or the first stop.

    Raises:
        LeaseLost: If the attempt has ended or was superseded; then nothing changes.
        Invalid: If a report lacks the search's metric; then nothing changes.
    """
    search_id = _search_of(context, lease)
    pending = PendingReport(lease, reports)
    with context.report_batches.join(search_id, pending) as batch:
        if batch:
            _answer(context, search_id, batch)
    try:
        return pending.answer.result()
    except NotFound:  # The search was deleted.
        raise LeaseLost(lease) from None


def _search_of(context: Context, lease: str) -> str:
    found = context.search_of_lease.get(lease)
    if found is None:
        with context.database.read() as session:
            found = attempts.search_of(session, lease)
        if len(context.search_of_lease) >= CACHED_LEASES:
            context.search_of_lease.clear()
        context.search_of_lease[lease] = found
    return found


def _answer(context: Context, search_id: str, batch: Sequence[PendingReport]) -> None:
    """Store a batch and answer each request; if one breaks the batch, store each by itself."""
    try:
        answers: Sequence[Verdict | BaseException] = _store(context, search_id, batch)
    except BaseException as error:
        # An error of the search or of the database would hit every request again; any other may
        # come from one of them.
        if len(batch) > 1 and not isinstance(error, (ServiceError, *STORE_FAILS)):
            for pending in batch:
                _answer(context, search_id, [pending])
            return
        answers = [error] * len(batch)
    for pending, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Verdict):
            pending.answer.set_result(answer)
        else:
            pending.answer.set_exception(answer)


def _store(
    context: Context, search_id: str, batch: Sequence[PendingReport]
) -> Sequence[Verdict | ServiceError]:
    """Store a batch in one transaction; return an answer for each request."""
    with unit_of_work(context, search_id, makes_work=False) as unit:
        open_attempts = attempts.open_with_trials(unit.session, [one.lease for one in batch])
        writer = _ReportWriter(unit, batch, open_attempts)
        answers = [writer.store(pending) for pending in batch]
        stored = [p.lease for p, a in zip(batch, answers, strict=True) if isinstance(a, Verdict)]
        attempts.record_activity(unit.session, stored, seconds=context.settings.lease_seconds)
    return answers


class _ReportWriter:
    """Stores a batch in one unit of work. A request that is refused changes nothing.

    Args:
        open_attempts: By lease, with their trials; a lease that is missing is lost.
    """

    def __init__(
        self,
        unit: UnitOfWork,
        batch: Sequence[PendingReport],
        open_attempts: dict[str, tuple[Attempt, Trial]],
    ) -> None:
        self._unit = unit
        self._open_attempts = open_attempts
        self._time = searches.clock(unit.session)
        self._rows = trial_reports.of_steps(
            unit.session,
            {
                (open_attempts[pending.lease][1].id, one.step)
                for pending in batch
                if pending.lease in open_attempts
                for one in pending.reports
            },
        )
        goals = document_of(unit.search).objectives
        self._metrics = [goal.metric for goal in goals if not goal.is_ratio]

    def store(self, pending: PendingReport) -> Verdict | ServiceError:
        """Store the reports of one request; return the verdict on the last, or the first stop."""
        if pending.lease not in self._open_attempts:
            return LeaseLost(pending.lease)
        attempt, trial = self._open_attempts[pending.lease]
        if self._unit.search.wanted == Wanted.KILL:
            end_attempt(self._unit, trial, attempt, KILLED)
            del self._open_attempts[pending.lease]
            return Verdict.CANCEL
        # All are checked before the first is stored, so that nothing changes if one is invalid.
        if (invalid := self._check(trial, pending.reports)) is not None:
            return invalid
        for one in pending.reports:
            verdict = self._store_one(trial, one)
            if verdict == Verdict.STOP:
                # The worker trained on before it could learn of the stop: the rest does not count.
                break
        return verdict

    def _check(self, trial: Trial, reports: Sequence[Report]) -> Invalid | None:
        for one in reports:
            for metric in self._metrics:
                if metric not in one.metrics and self._stored(trial, one) is None:
                    given = ", ".join(one.metrics)
                    message = f"{metric!r} is missing; there are {given}"
                    return Invalid([Fault("reports.metrics", message)])
        return None

    def _stored(self, trial: Trial, one: Report) -> ReportRow | None:
        """Return the row of a report that this attempt has sent before."""
        rows = self._rows.get((trial.id, one.step), [])
        return next((row for row in rows if row.attempt == trial.attempt), None)

    def _store_one(self, trial: Trial, one: Report) -> Verdict:
        """Store one report with its verdict, or return the stored verdict of a repeated one."""
        if (stored := self._stored(trial, one)) is not None:
            return stored.verdict
        search = self._unit.search
        row = ReportRow(
            trial_id=trial.id,
            step=one.step,
            attempt=trial.attempt,
            value=one.metrics[self._metrics[0]],
            metrics=dict(one.metrics),
            step_seconds=one.step_seconds,
            verdict=Verdict.RELEASE if search.wanted == Wanted.PAUSE else Verdict.CONTINUE,
            created_at=self._time,
        )
        rows = self._rows.setdefault((trial.id, one.step), [])
        if not rows:
            self._report_to_study(trial, row)
            self._update_trial(trial, row)
        elif rows[0].verdict == Verdict.STOP:
            # An attempt that resumed from a checkpoint repeats steps that the sampler has seen;
            # the verdict of the first attempt still holds.
            row.verdict = Verdict.STOP
        if row.verdict == Verdict.CONTINUE and not _is_last_epoch(search, trial, row):
            self._stop_if_hours_are_spent(trial, row)
        rows.append(row)
        self._unit.session.add(row)
        return row.verdict

    def _report_to_study(self, trial: Trial, row: ReportRow) -> None:
        """Report a new step to the study, whose pruner may stop a proposed trial.

        After the last epoch stopping would save nothing, so the pruner is not asked. A trial that
        runs on after its stop reports no more to the study, which has it as stopped.
        """
        unit, search = self._unit, self._unit.search
        live = study_of(unit.context, unit.locked_study, search)
        if trial.optuna_number is None or trial.told is not None or live.has_several_objectives:
            return
        may_stop = not _is_last_epoch(search, trial, row)
        prune = live.report(trial.optuna_number, row.step, row.value, may_stop=may_stop)
        search.tells += 1
        row.told = search.tells
        trial.optuna_attrs = live.attrs(trial.optuna_number)
        if not prune or trial.kind != TrialKind.PROPOSED or trial.replicate_of is not None:
            return
        if runs_on(search, trial):
            tell_stop(unit, trial, row.step)
        else:
            row.verdict = Verdict.STOP
            trial.stopped_at = row.step

    def _stop_if_hours_are_spent(self, trial: Trial, row: ReportRow) -> None:
        """Stop a trial at this report, so that it overruns the budget by one epoch at most."""
        is_confirmation = trial.kind == TrialKind.CONFIRMATION
        reserve = 0.0 if is_confirmation else confirmation.reserve(self._unit.search)
        overrun = budget.overrun(self._unit.session, self._unit.search, reserve=reserve)
        if overrun is not None:
            row.verdict = Verdict.STOP
            trial.reason = overrun

    def _update_trial(self, trial: Trial, row: ReportRow) -> None:
        """Set the trial's value and step by its newest report, and add an event."""
        trial.value = row.value
        trial.step = row.step
        times = [one for one in (trial.step_seconds, row.step_seconds) if one is not None]
        # The fastest epoch: other load on the machine can only make one slower.
        trial.step_seconds = min(times, default=None)
        data = {"trial": trial.id, "number": trial.number, "step": row.step, "value": row.value}
        events.add(self._unit.session, self._unit.search, "report", data, at=self._time)


def _is_last_epoch(search: Search, trial: Trial, row: ReportRow) -> bool:
    """Whether a report is of the last epoch, if the number of epochs is known."""
    epochs = search.pinned["epochs"]
    if trial.kind == TrialKind.CONFIRMATION:
        epochs = search.document["confirm"]["epochs"] or epochs
    return epochs is not None and row.step >= epochs
