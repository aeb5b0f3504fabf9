"""The answers about searches and their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, is_fraction
from search_space.search import metric_in, objectives_in
from service.results import budget, ranking, verdict_text
from service.results.confirmation import (
    Confirmation,
    agreement,
    load,
    load_each,
)
from service.results.early_stopping import early_stops
from service.results.luck_line import luck
from service.results.objectives import maximizes
from service.results.progress import progress
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
    SearchAnswer,
    SpentAnswer,
    WarmStartAnswer,
)
from service.store import tallies
from service.store.documents import NO_WARM_START
from service.store.models import Search, Trial

NOT_CONFIRMED = "not confirmed yet: single trainings on validation data, chosen among many"
CUT_OFF = "not confirmed: some of the trainings that should confirm the winner were cut off"
NO_WINNER = "several objectives have a front and no single winner; nothing of it is confirmed"
RANKED = 100
"""The ranking has at most so many candidates."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict: its status and text, and the trial of the confirmed winner."""

    status: Literal["not_confirmed", "confirmed", "noise"]
    claim: str
    comparisons: Sequence[Comparison] = ()
    trial: Trial | None = None


def find(confirmation: Confirmation) -> Finding:
    """Return the verdict on a search's winner."""
    search, comparisons = confirmation.search, confirmation.comparisons
    if not comparisons:
        if len(objectives_in(search.document)) > 1:
            return Finding("not_confirmed", NO_WINNER)
        return Finding("not_confirmed", CUT_OFF if confirmation.was_cut_off else NOT_CONFIRMED)
    claim = verdict_text.claim(
        search,
        comparisons,
        seeds=confirmation.seeds,
        failed=confirmation.failed_seeds,
        looks=confirmation.looks,
    )
    over_original = comparisons[0]
    if over_original.holds and over_original.difference > 0:
        return Finding("confirmed", claim, comparisons, confirmation.winner_trial)
    return Finding("noise", claim, comparisons)


def best(session: Session, search: Search) -> BestAnswer:
    """Rank the original, the uniform networks and the candidates."""
    original, maximize = ranking.original_of(session, search), maximizes(search)
    confirmation, tally = load(session, search), tallies.tally(session, search)
    finding, agreed = find(confirmation), agreement(session, confirmation)
    stopped = early_stops(session, search, tally)
    return BestAnswer(
        status=finding.status,
        claim=finding.claim,
        notes=verdict_text.notes(stopped, agreed, confirmation.looks),
        trial=None if finding.trial is None else finding.trial.id,
        comparisons=[ComparisonAnswer.model_validate(one) for one in finding.comparisons],
        looks=confirmation.looks,
        metric=metric_in(search.document),
        is_fraction=is_fraction(metric_in(search.document)),
        direction=objectives_in(search.document)[0]["direction"],
        original=OriginalAnswer(
            mean=original.mean,
            spread=original.spread,
            values=list(original.values),
            step_seconds=original.step_seconds,
        ),
        luck=luck(original, tally.completed_proposals, maximize=maximize),
        luck_of=tally.completed_proposals,
        stops=StopsAnswer.model_validate(stopped),
        agreement=None if agreed is None else AgreementAnswer.model_validate(agreed),
        pareto=[
            _on_front(search, trial, values) for trial, values in ranking.front(session, search)
        ],
        ranking=[
            _ranked_answer(rank, row, original, maximize=maximize)
            for rank, row in enumerate(ranking.ranked(session, search, limit=RANKED), 1)
        ],
    )


@dataclass(frozen=True, slots=True)
class _Derived:
    """What is computed from the rows of one search."""

    tally: tallies.Tally
    top: ranking.Ranked | None
    original: ranking.OriginalResults
    confirmation: Confirmation
    hours: budget.Hours


def answers(session: Session, found: Sequence[Search]) -> list[SearchAnswer]:
    """Return searches with what is computed from their trials.

    The number of SQL statements is the same for one search as for fifty.
    """
    counts = tallies.tally_each(session, found)
    tops = ranking.best_of_each(session, found)
    originals = ranking.original_of_each(session, found)
    confirmations = load_each(session, found)
    hours = budget.hours_each(session, found)
    return [
        _answer(
            search,
            _Derived(
                counts[search.id],
                tops.get(search.id),
                originals[search.id],
                confirmations[search.id],
                hours[search.id],
            ),
        )
        for search in found
    ]


def _answer(search: Search, derived: _Derived) -> SearchAnswer:
    equals = derived.tally.completed_proposals
    computed = (
        *("counts", "progress", "best", "finding", "luck", "luck_of", "budget", "spent"),
        "warm_start",
    )
    columns = {
        name: getattr(search, name) for name in SearchAnswer.model_fields if name not in computed
    }
    return SearchAnswer(
        **columns,
        counts=derived.tally.by_state,
        progress=progress(search, derived.tally, derived.confirmation),
        warm_start=_warm_start(search, derived.tally),
        best=None if derived.top is None else _best(derived.top),
        finding=_finding(search, derived),
        luck=luck(derived.original, equals, maximize=maximizes(search)),
        luck_of=equals,
        budget=BudgetAnswer(
            trials=search.budget,
            hours=search.budget_hours,
            gpu_hours=search.budget_gpu_hours,
            failures=search.budget_failures,
        ),
        spent=SpentAnswer(
            trials=derived.tally.proposed, hours=derived.hours.running, gpu_hours=derived.hours.gpu
        ),
    )


def _finding(search: Search, derived: _Derived) -> FindingAnswer:
    finding = find(derived.confirmation)
    gain = low = high = None
    # Before there is a verdict, the gain is that of the best candidate on validation data.
    if finding.comparisons:
        over = finding.comparisons[0]
        gain, low, high = over.difference, over.low, over.high
    elif derived.top is not None and derived.original.mean is not None:
        gain = (derived.top.value - derived.original.mean) * (1 if maximizes(search) else -1)
    return FindingAnswer(
        status=finding.status,
        claim=finding.claim,
        gain=gain,
        low=low,
        high=high,
        is_fraction=is_fraction(metric_in(search.document)),
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
        estimate=row.estimate,
        estimate_low=row.estimate_low,
        estimate_high=row.estimate_high,
        beats_uniform=row.beats_uniform,
        gain=gain if gain is None or maximize else -gain,
        step_seconds=row.step_seconds,
        step_ratio=ratio,
        candidate=row.candidate or {},
    )


def _warm_start(search: Search, tally: tallies.Tally) -> WarmStartAnswer | None:
    wanted = search.document.get("warm_start")
    reason = search.pinned.get(NO_WARM_START)
    begins_with = search.forked_from if wanted is None else wanted["search"]
    if begins_with is None or (wanted is None and reason is None):
        return None
    taken = tally.of_kind(TrialKind.EARLIER)
    return WarmStartAnswer(search=begins_with, taken=taken, reason=reason)


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
