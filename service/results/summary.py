"""What a search has found so far, and what may be said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, is_fraction
from search_space.search import Confirm, metric_in, objectives_in
from service.results import budget, claims, ranking
from service.results.confirmation import (
    Confirmation,
    agreement,
    load,
    load_each,
    most_trials,
)
from service.results.early_stopping import early_stops
from service.results.objectives import maximizes
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
from service.schemas.states import ENDED_STATES, SearchState, TrialState
from service.store import tallies
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


def find(confirmation: Confirmation) -> Finding:
    """Return what may be claimed of a search's winner."""
    search, comparisons = confirmation.search, confirmation.comparisons
    if not comparisons:
        if len(objectives_in(search.document)) > 1:
            return Finding("not_confirmed", NO_WINNER)
        return Finding("not_confirmed", CUT_OFF if confirmation.was_cut_off else NOT_CONFIRMED)
    claim = claims.say(
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
    finding, alike = find(confirmation), agreement(session, confirmation)
    stopped = early_stops(session, search, tally)
    return BestAnswer(
        status=finding.status,
        claim=finding.claim,
        notes=claims.notes(stopped, alike, confirmation.looks),
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
        luck=ranking.luck(original, tally.completed_proposals, maximize=maximize),
        luck_of=tally.completed_proposals,
        stops=StopsAnswer.model_validate(stopped),
        agreement=None if alike is None else AgreementAnswer.model_validate(alike),
        pareto=[
            _on_front(search, trial, values) for trial, values in ranking.front(session, search)
        ],
        ranking=[
            _ranked_answer(rank, row, original, maximize=maximize)
            for rank, row in enumerate(ranking.ranked(session, search, limit=RANKED), 1)
        ],
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is derived from the rows of one search."""

    tally: tallies.Tally
    top: ranking.Ranked | None
    original: ranking.OriginalResults
    confirmation: Confirmation
    hours: budget.Hours


def answers(session: Session, found: Sequence[Search]) -> list[SearchAnswer]:
    """Return searches with what is derived from their trials; the statements are as many for one
    search as for fifty."""
    counts = tallies.tally_each(session, found)
    tops = ranking.best_of_each(session, found)
    originals = ranking.original_of_each(session, found)
    confirmations = load_each(session, found)
    hours = budget.hours_each(session, found)
    return [
        _answer(
            search,
            _Facts(
                counts[search.id],
                tops.get(search.id),
                originals[search.id],
                confirmations[search.id],
                hours[search.id],
            ),
        )
        for search in found
    ]


def _answer(search: Search, facts: _Facts) -> SearchAnswer:
    equals = facts.tally.completed_proposals
    derived = (
        *("counts", "progress", "best", "finding", "luck", "luck_of", "budget", "spent"),
        "warm_start",
    )
    columns = {
        name: getattr(search, name) for name in SearchAnswer.model_fields if name not in derived
    }
    return SearchAnswer(
        **columns,
        counts=facts.tally.by_state,
        progress=_progress(search, facts),
        warm_start=_warm_start(search, facts.tally),
        best=None if facts.top is None else _best(facts.top),
        finding=_finding(search, facts),
        luck=ranking.luck(facts.original, equals, maximize=maximizes(search)),
        luck_of=equals,
        budget=BudgetAnswer(
            trials=search.budget,
            hours=search.budget_hours,
            gpu_hours=search.budget_gpu_hours,
            failures=search.budget_failures,
        ),
        spent=SpentAnswer(
            trials=facts.tally.proposed, hours=facts.hours.running, gpu_hours=facts.hours.gpu
        ),
    )


def _finding(search: Search, facts: _Facts) -> FindingAnswer:
    finding = find(facts.confirmation)
    gain = low = high = None
    if finding.comparisons:
        over = finding.comparisons[0]
        gain, low, high = over.difference, over.low, over.high
    elif facts.top is not None and facts.original.mean is not None:
        gain = (facts.top.value - facts.original.mean) * (1 if maximizes(search) else -1)
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
        gain=gain if gain is None or maximize else -gain,
        step_seconds=row.step_seconds,
        step_ratio=ratio,
        candidate=row.candidate or {},
    )


def _warm_start(search: Search, tally: tallies.Tally) -> WarmStartAnswer | None:
    wanted, cold = search.document.get("warm_start"), search.pinned.get(COLD)
    begins_with = search.forked_from if wanted is None else wanted["search"]
    if begins_with is None or (wanted is None and cold is None):
        return None
    taken = tally.of_kind(TrialKind.EARLIER)
    return WarmStartAnswer(search=begins_with, taken=taken, reason=cold)


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


def _progress(search: Search, facts: _Facts) -> Progress:
    tally = facts.tally
    finished = tally.finished
    total = _baselines(search, tally) + search.budget + _confirmations(facts) + _unforeseen(tally)
    if search.state in ENDED_STATES:
        total = finished
    return Progress(
        finished=finished,
        total=total,
        running=tally.by_state.get(TrialState.RUNNING.value, 0),
        eta_seconds=_eta(search, tally, finished, total),
    )


def _eta(search: Search, tally: tallies.Tally, finished: int, total: int) -> float | None:
    """Return how long the rest will take at the pace so far, pauses included in the pace."""
    if search.state != SearchState.RUNNING or search.started_at is None or finished == 0:
        return None
    elapsed = 0.0 if tally.last_ended is None else tally.last_ended - search.started_at
    rest = elapsed / finished * (total - finished)
    return rest if math.isfinite(rest) else None


def _baselines(search: Search, tally: tallies.Tally) -> int:
    """Return how many baselines there are, or will be once the network has been inspected."""
    if search.plan is not None:
        return tally.of_kind(TrialKind.BASELINE)
    document: dict[str, Any] = search.document
    uniform = len(document["choices"]) if document["baselines"]["uniform"] else 0
    return int(document["baselines"]["original_seeds"]) + uniform


def _unforeseen(tally: tallies.Tally) -> int:
    """Count the trials outside every budget: trials by hand or of an earlier search, and those
    that confirmed an earlier winner."""
    return tally.count(
        lambda group: group.kind in (TrialKind.MANUAL, TrialKind.EARLIER) or group.is_superseded
    )


def _confirmations(facts: _Facts) -> int:
    """Return how many trainings the confirmation takes: at most, until they have been added."""
    document = facts.confirmation.search.document
    if not document.get("confirm"):
        return 0
    if facts.confirmation.is_planned:
        return len(facts.confirmation.trials)
    confirm = Confirm.model_validate(document["confirm"])
    return most_trials(confirm, uniform=document["baselines"]["uniform"])
