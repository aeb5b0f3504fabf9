"""What attempts report. Reports of a search that come together are one transaction."""

from collections.abc import Sequence

from search_space.contract import Report, TrialKind, Verdict
from service.errors import Fault, Invalid, LeaseLost, NotFound, ServiceError
from service.results import budget, confirmation
from service.results.early_stopping import runs_on
from service.runtime.context import Context
from service.runtime.report_batches import PendingReport
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import Wanted
from service.store import attempts, events, searches, trials
from service.store.database import STORE_FAILS
from service.store.documents import document_of
from service.store.models import Attempt, Search, Trial
from service.store.models import Report as ReportRow
from service.trials.outcomes import KILLED, end_attempt
from service.trials.study_sync import study_of, tell_stop

REMEMBERED = 10_000
"""Leases whose search is not asked for again."""


def report(context: Context, lease: str, reports: Sequence[Report]) -> Verdict:
    """Take in a batch of reports and return the verdict on the last, or the first to stop.

    Raises:
        LeaseLost: If the attempt has ended or was superseded; then nothing changes.
        Invalid: If a report lacks the search's metric; then nothing changes.
    """
    search_id = _search_of(context, lease)
    word = PendingReport(lease, reports)
    with context.report_batches.put(search_id, word) as words:
        if words:
            _answer(context, search_id, words)
    try:
        return word.answer.result()
    except NotFound:  # The search was deleted.
        raise LeaseLost(lease) from None


def _search_of(context: Context, lease: str) -> str:
    found = context.searches.get(lease)
    if found is None:
        with context.database.read() as session:
            found = attempts.search_of(session, lease)
        if len(context.searches) >= REMEMBERED:
            context.searches.clear()
        context.searches[lease] = found
    return found


def _answer(context: Context, search_id: str, words: Sequence[PendingReport]) -> None:
    """Answer every word; where one of them breaks the others, each by itself."""
    try:
        answers: Sequence[Verdict | BaseException] = _take_in_all(context, search_id, words)
    except BaseException as error:
        # What no word has caused answers all of them.
        if len(words) > 1 and not isinstance(error, (ServiceError, *STORE_FAILS)):
            for word in words:
                _answer(context, search_id, [word])
            return
        answers = [error] * len(words)
    for word, answer in zip(words, answers, strict=True):
        if isinstance(answer, Verdict):
            word.answer.set_result(answer)
        else:
            word.answer.set_exception(answer)


def _take_in_all(
    context: Context, search_id: str, words: Sequence[PendingReport]
) -> Sequence[Verdict | ServiceError]:
    """Take in words in one transaction; return an answer for each."""
    with unit_of_work(context, search_id, makes_work=False) as unit:
        speakers = attempts.speakers(unit.session, [word.lease for word in words])
        intake = _Intake(unit, words, speakers)
        answers = [intake.take_in(word) for word in words]
        heard = [w.lease for w, a in zip(words, answers, strict=True) if isinstance(a, Verdict)]
        attempts.spoke(unit.session, heard, seconds=context.settings.lease_seconds)
    return answers


class _Intake:
    """Takes in words of attempts in one turn; what is wrong with one changes nothing."""

    def __init__(
        self,
        unit: UnitOfWork,
        words: Sequence[PendingReport],
        speakers: dict[str, tuple[Attempt, Trial]],
    ) -> None:
        self._unit = unit
        self._speakers = speakers
        self._time = searches.clock(unit.session)
        self._rows = trials.reports_of_steps(
            unit.session,
            {
                (speakers[word.lease][1].id, one.step)
                for word in words
                if word.lease in speakers
                for one in word.reports
            },
        )
        goals = document_of(unit.search).objectives
        self._metrics = [goal.metric for goal in goals if not goal.is_ratio]

    def take_in(self, word: PendingReport) -> Verdict | ServiceError:
        """Store what an attempt reports; return the verdict on the last, or the first to stop."""
        if word.lease not in self._speakers:
            return LeaseLost(word.lease)
        attempt, trial = self._speakers[word.lease]
        if self._unit.search.wanted == Wanted.KILL:
            end_attempt(self._unit, trial, attempt, KILLED)
            del self._speakers[word.lease]
            return Verdict.CANCEL
        if (faults := self._faults(trial, word.reports)) is not None:
            return faults
        for one in word.reports:
            verdict = self._take_in(trial, one)
            if verdict == Verdict.STOP:
                # What it trained while it could not be told does not count.
                break
        return verdict

    def _faults(self, trial: Trial, reports: Sequence[Report]) -> Invalid | None:
        for one in reports:
            for metric in self._metrics:
                if metric not in one.metrics and self._known(trial, one) is None:
                    there = ", ".join(one.metrics)
                    message = f"{metric!r} is missing; there are {there}"
                    return Invalid([Fault("reports.metrics", message)])
        return None

    def _known(self, trial: Trial, one: Report) -> ReportRow | None:
        """Return what this attempt has reported of the same step before."""
        rows = self._rows.get((trial.id, one.step), [])
        return next((row for row in rows if row.attempt == trial.attempt), None)

    def _take_in(self, trial: Trial, one: Report) -> Verdict:
        """Store one report with its verdict, or repeat the verdict that is stored."""
        if (known := self._known(trial, one)) is not None:
            return known.verdict
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
            self._show_the_study(trial, row)
            self._show_followers(trial, row)
        elif rows[0].verdict == Verdict.STOP:
            # A resumed attempt says again what the sampler has seen; a stop stays a stop.
            row.verdict = Verdict.STOP
        if row.verdict == Verdict.CONTINUE and not _is_last(search, trial, row):
            self._stop_when_hours_are_spent(trial, row)
        rows.append(row)
        self._unit.session.add(row)
        return row.verdict

    def _show_the_study(self, trial: Trial, row: ReportRow) -> None:
        """Enter a report that the sampler has not seen; the pruner may stop a proposed trial.

        After the last epoch there is nothing left to save, and the pruner is not asked. What comes
        after a stop that was not carried out is not shown: the sampler takes the trial for stopped.
        """
        unit, search = self._unit, self._unit.search
        live = study_of(unit.context, unit.locked_study, search)
        if trial.optuna_number is None or trial.told is not None or live.has_several_objectives:
            return
        may_stop = not _is_last(search, trial, row)
        prune = live.report(trial.optuna_number, row.step, row.value, may_stop=may_stop)
        search.tells += 1
        row.told = search.tells
        trial.optuna_attrs = live.attrs(trial.optuna_number)
        if not prune or trial.kind != TrialKind.PROPOSED:
            return
        if runs_on(search, trial):
            tell_stop(unit, trial, row.step)
        else:
            row.verdict = Verdict.STOP
            trial.stopped_at = row.step

    def _stop_when_hours_are_spent(self, trial: Trial, row: ReportRow) -> None:
        """Stop what runs at its next report, so that no slot overruns the hours by more."""
        is_confirmation = trial.kind == TrialKind.CONFIRMATION
        kept = 0.0 if is_confirmation else confirmation.reserve(self._unit.search)
        over = budget.overrun(self._unit.session, self._unit.search, reserve=kept)
        if over is not None:
            row.verdict = Verdict.STOP
            trial.reason = over

    def _show_followers(self, trial: Trial, row: ReportRow) -> None:
        """Bring the trial up to its newest report, and say so."""
        trial.value = row.value
        trial.step = row.step
        times = [one for one in (trial.step_seconds, row.step_seconds) if one is not None]
        # The fastest epoch: what else ran on the machine can only slow a step down.
        trial.step_seconds = min(times, default=None)
        data = {"trial": trial.id, "number": trial.number, "step": row.step, "value": row.value}
        events.add(self._unit.session, self._unit.search, "report", data, at=self._time)


def _is_last(search: Search, trial: Trial, row: ReportRow) -> bool:
    """Whether a report is of the last epoch, where the number of epochs is known."""
    epochs = search.pinned["epochs"]
    if trial.kind == TrialKind.CONFIRMATION:
        epochs = search.document["confirm"]["epochs"] or epochs
    return epochs is not None and row.step >= epochs
