"""What a search has found so far, and what may be said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind, is_fraction
from search_space.search import Confirm, metric_in, objectives_in
from service.results import budget, claims, confirmation, ranking
from service.results.early_stopping import early_stops
from service.results.verdict import Comparison
from service.schemas.results import (
    AgreementAnswer,
    BestAnswer,
    ComparisonAnswer,
    OriginalAnswer,
    ParetoAnswer,
    RankedAnswer,
    StopsAnswer,
)
from service.schemas.searches import (
    Best,
    BudgetAnswer,
    FindingAnswer,
    Progress,
    SearchAnswer,
    SpentAnswer,
    WarmStartAnswer,
)
from service.schemas.states import FINISHED, SearchState, TrialState
from service.store import searches, trials
from service.store.documents import COLD
from service.store.models import Search, Trial

NOT_CONFIRMED = "not confirmed yet: single trainings on validation data, chosen among many"
CUT_OFF = "not confirmed: some of the trainings that should confirm the winner were cut off"
NO_WINNER = "several objectives have a front and no single winner; nothing of it is confirmed"
RANKED = 100
"""The ranking lists at most this many candidates."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What may be claimed: its status, its words, and the confirmed winner's trial."""

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    comparisons: Sequence[Comparison] = ()
    trial: Trial | None = None


def find(session: Session, search: Search) -> Finding:
    """Return what may be claimed of a search's winner."""
    comparisons = confirmation.comparisons(session, search)
    if not comparisons:
        if len(objectives_in(search.document)) > 1:
            return Finding("not_confirmed", NO_WINNER)
        cut_off = confirmation.was_cut_off(session, search)
        return Finding("not_confirmed", CUT_OFF if cut_off else NOT_CONFIRMED)
    over_original = comparisons[0]
    claim = claims.say(
        search,
        comparisons,
        seeds=confirmation.seeds(session, search),
        failed=confirmation.failed_seeds(session, search),
        looks=confirmation.looks(session, search),
    )
    if over_original.holds and over_original.difference > 0:
        trial = confirmation.confirmed_trial(session, search)
        return Finding("confirmed", claim, comparisons, trial)
    return Finding("noise", claim, comparisons)


def best(session: Session, search: Search) -> BestAnswer:
    """Rank the original, the uniform networks and the candidates."""
    original, maximize = ranking.original_of(session, search), ranking.maximizes(search)
    rows, equals = (
        ranking.ranked(session, search, limit=RANKED),
        ranking.completed_proposals(session, search),
    )
    finding = find(session, search)
    agreement = confirmation.agreement(session, search)
    looks, stopped = confirmation.looks(session, search), early_stops(session, search)
    return BestAnswer(
        status=finding.status,
        claim=finding.claim,
        notes=claims.notes(stopped, agreement, looks),
        trial=None if finding.trial is None else finding.trial.id,
        comparisons=[ComparisonAnswer.model_validate(one) for one in finding.comparisons],
        looks=looks,
        metric=metric_in(search.document),
        is_fraction=is_fraction(metric_in(search.document)),
        direction=objectives_in(search.document)[0]["direction"],
        original=OriginalAnswer(
            mean=original.mean,
            spread=original.spread,
            values=list(original.values),
            step_seconds=original.step_seconds,
        ),
        luck=ranking.luck(original, equals, maximize=maximize),
        luck_of=equals,
        stops=StopsAnswer.model_validate(stopped),
        agreement=(None if agreement is None else AgreementAnswer.model_validate(agreement)),
        pareto=[
            _on_front(search, trial, values) for trial, values in ranking.front(session, search)
        ],
        ranking=[
            _ranked_answer(rank, row, original, maximize=maximize)
            for rank, row in enumerate(rows, 1)
        ],
    )


def answer(session: Session, search: Search, counts: dict[str, int]) -> SearchAnswer:
    """Return a search with what is derived from its trials."""
    top, equals = ranking.best_trial(session, search), ranking.completed_proposals(session, search)
    original = ranking.original_of(session, search)
    derived = (
        *("counts", "progress", "best", "finding", "luck", "luck_of", "budget", "spent"),
        "warm_start",
    )
    columns = {
        name: getattr(search, name) for name in SearchAnswer.model_fields if name not in derived
    }
    return SearchAnswer(
        **columns,
        counts=counts,
        progress=_progress(session, search, counts),
        warm_start=_warm_start(session, search),
        best=None if top is None else _best(top),
        finding=_finding(session, search, top, original),
        luck=ranking.luck(original, equals, maximize=ranking.maximizes(search)),
        luck_of=equals,
        budget=BudgetAnswer(
            trials=search.budget,
            hours=search.budget_hours,
            gpu_hours=search.budget_gpu_hours,
            failures=search.budget_failures,
        ),
        spent=_spent(session, search),
    )


def answers(session: Session, found: Sequence[Search]) -> list[SearchAnswer]:
    counts = searches.counts(session, [search.id for search in found])
    return [answer(session, search, counts[search.id]) for search in found]


def _finding(
    session: Session, search: Search, top: ranking.Ranked | None, original: ranking.OriginalResults
) -> FindingAnswer:
    finding, in_points = find(session, search), is_fraction(metric_in(search.document))
    if finding.comparisons:
        over = finding.comparisons[0]
        return FindingAnswer(
            status=finding.status,
            claim=finding.claim,
            gain=over.difference,
            low=over.low,
            high=over.high,
            is_fraction=in_points,
        )
    gain = None
    if top is not None and original.mean is not None:
        gain = (top.value - original.mean) * (1 if ranking.maximizes(search) else -1)
    return FindingAnswer(
        status=finding.status,
        claim=finding.claim,
        gain=gain,
        low=None,
        high=None,
        is_fraction=in_points,
    )


def _ranked_answer(
    rank: int, one: ranking.Ranked, original: ranking.OriginalResults, *, maximize: bool
) -> RankedAnswer:
    row = one.trial
    assert row.number is not None
    gain = None if original.mean is None else one.value - original.mean
    ratio = None
    if row.step_seconds is not None and original.step_seconds:
        ratio = row.step_seconds / original.step_seconds
    return RankedAnswer(
        rank=rank,
        trial=row.id,
        number=row.number,
        kind=row.kind,
        label=row.label,
        value=one.value,
        seeds=one.seeds,
        gain=gain if gain is None or maximize else -gain,
        step_seconds=row.step_seconds,
        step_ratio=ratio,
        candidate=row.candidate or {},
    )


def _warm_start(session: Session, search: Search) -> WarmStartAnswer | None:
    wanted, cold = search.document.get("warm_start"), search.pinned.get(COLD)
    begins_with = search.forked_from if wanted is None else wanted["search"]
    if begins_with is None or (wanted is None and cold is None):
        return None
    taken = trials.count(session, search.id, Trial.kind == TrialKind.EARLIER)
    return WarmStartAnswer(search=begins_with, taken=taken, reason=cold)


def _spent(session: Session, search: Search) -> SpentAnswer:
    hours = budget.hours(session, search)
    return SpentAnswer(
        trials=trials.proposed(session, search.id), hours=hours.running, gpu_hours=hours.gpu
    )


def _on_front(search: Search, trial: Trial, values: Sequence[float]) -> ParetoAnswer:
    assert trial.number is not None
    metrics = [objective["metric"] for objective in objectives_in(search.document)]
    return ParetoAnswer(
        trial=trial.id,
        number=trial.number,
        label=trial.label,
        values=dict(zip(metrics, values, strict=True)),
        candidate=trial.candidate or {},
    )


def _best(best: ranking.Ranked) -> Best:
    trial = best.trial
    assert trial.number is not None
    return Best(trial=trial.id, number=trial.number, label=trial.label, value=best.value)


def _progress(session: Session, search: Search, counts: dict[str, int]) -> Progress:
    baselines = trials.count(session, search.id, Trial.kind == TrialKind.BASELINE)
    if search.plan is None:
        document: dict[str, Any] = search.document
        uniform = len(document["choices"]) if document["baselines"]["uniform"] else 0
        baselines = document["baselines"]["original_seeds"] + uniform
    finished = trials.count(
        session,
        search.id,
        Trial.number.is_not(None),
        Trial.repeat_of.is_(None),
        Trial.state.in_(FINISHED),
    )
    total = baselines + search.budget + _confirmations(session, search) + _beside(session, search)
    if search.state in (SearchState.COMPLETED, SearchState.CANCELLED, SearchState.FAILED):
        total = finished
    return Progress(
        finished=finished,
        total=total,
        running=counts.get(TrialState.RUNNING.value, 0),
        eta_seconds=_eta(session, search, finished, total),
    )


def _eta(session: Session, search: Search, finished: int, total: int) -> float | None:
    """Return how long the rest will take at the pace so far, pauses included in the pace."""
    if search.state != SearchState.RUNNING or search.started_at is None or finished == 0:
        return None
    last = session.scalar(select(func.max(Trial.ended_at)).where(Trial.search_id == search.id))
    elapsed = 0.0 if last is None else last - search.started_at
    rest = elapsed / finished * (total - finished)
    return rest if math.isfinite(rest) else None


def _beside(session: Session, search: Search) -> int:
    """Count what no budget foresaw: trials by hand or of an earlier search, and what confirmed
    an earlier winner."""
    earlier = (Trial.kind == TrialKind.CONFIRMATION) & (Trial.number < search.confirm_from)
    beside = Trial.kind.in_((TrialKind.MANUAL, TrialKind.EARLIER))
    return trials.count(session, search.id, beside | earlier)


def _confirmations(session: Session, search: Search) -> int:
    """Return how many trainings the confirmation takes: at most, until they are lined up."""
    confirm = search.document.get("confirm")
    if not confirm:
        return 0
    planned = trials.confirmations(session, search)
    if any(trial.label == confirmation.WINNER for trial in planned):
        return len(planned)
    uniform = search.document["baselines"]["uniform"]
    return confirmation.most_trials(Confirm.model_validate(confirm), uniform=uniform)
