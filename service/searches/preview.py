"""The preview of a search: its space, its cost, and the smallest gain that it can confirm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind, TrialKind, is_fraction
from search_space.search import SearchSpec, metric_in
from search_space.space.space import TRIALS_PER_LAYER, Space, make_space
from search_space.spec import to_data
from service.results import confirmation
from service.results.luck_line import MIN_SEEDS_FOR_LUCK
from service.results.verdict import LEVEL
from service.schemas.searches import (
    DurationAnswer,
    PreviewAnswer,
    SmallestGainAnswer,
    TrainingsAnswer,
)
from service.searches.offers import check_against_offers, epochs_of
from service.searches.warm_start import check_warm_start
from service.store import searches, trials, workers
from service.store.models import Attempt, Search, Trial
from service.study.random_draws import RandomSuggester
from service.study.seeds import seed_of

SAMPLES = 5
POWER = 0.8
"""Probability that the smallest gain is confirmed."""

COMPARISONS = 2
"""Holm's correction divides the level of the first comparison by this number."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long trials of earlier searches of the same task took, in seconds."""

    seconds_per_epoch: float | None
    seconds: float
    trials: int
    searches: int


def preview(session: Session, document: SearchSpec) -> PreviewAnswer:
    """Return the preview of a search. Nothing is stored.

    Raises:
        Invalid: If the search would be refused.
    """
    offers = workers.offers(session)
    check_against_offers(session, document, offers)
    check_warm_start(session, document)
    plan = searches.known_plan(session, document.task.model_dump(mode="json"))
    space = None if plan is None else make_space(document, plan)
    trainings = _trainings(document, space)
    earlier = searches.of_same_task(session, document.task.model_dump(mode="json"))
    gain = None if document.confirm is None else _smallest_gain(session, document, earlier)
    return PreviewAnswer(
        document=document.model_dump(mode="json"),
        sites=None if space is None else list(space.original.sites),
        groups=None if space is None else _groups(space),
        size=None if space is None or math.isinf(space.size) else int(space.size),
        candidates=None if space is None else _samples(document, space),
        trainings=trainings,
        duration=_duration(session, document, trainings, earlier, epochs_of(document, offers)),
        smallest_gain=gain,
        warnings=_warnings(document, space, trainings),
    )


def _groups(space: Space) -> dict[str, list[str]]:
    return {group.name: [site.id for site in group.sites] for group in space.groups}


def _samples(document: SearchSpec, space: Space) -> list[dict[str, Any]]:
    """Draw a few different candidates at random; always the same ones for a document."""
    suggester = RandomSuggester(np.random.default_rng(seed_of(document.sampler.seed, "preview", 0)))
    drawn = (space.candidate(space.suggest(suggester)) for _ in range(4 * SAMPLES))
    different = {space.key(candidate): candidate for candidate in drawn}
    return [to_data(space.canonical(one)) for one in list(different.values())[:SAMPLES]]


def _trainings(document: SearchSpec, space: Space | None) -> TrainingsAnswer:
    """Count the trainings of a search at most; equal uniform networks are trained once."""
    uniforms = len(document.choices)
    proposed = document.budget.trials
    if space is not None:
        keys = {space.key(candidate) for candidate in space.uniforms.values()}
        uniforms = len(keys - {space.key(space.original)})
        proposed = int(min(proposed, space.size))
    baselines = document.baselines.original_seeds + uniforms * document.baselines.uniform
    confirming = 0
    if document.confirm is not None:
        confirming = confirmation.max_trials(document.confirm, uniform=document.baselines.uniform)
    return TrainingsAnswer(
        baselines=baselines,
        proposed=proposed,
        confirmation=confirming,
        total=baselines + proposed + confirming,
    )


def _duration(
    session: Session,
    document: SearchSpec,
    trainings: TrainingsAnswer,
    earlier: Sequence[Search],
    epochs: int | None,
) -> DurationAnswer | None:
    """Estimate the duration by earlier searches of the task, as if no trial were stopped early."""
    pace = _pace(session, earlier)
    if pace is None:
        return None

    def seconds_of(length: int | None) -> float:
        if length is None or pace.seconds_per_epoch is None:
            return pace.seconds
        return length * pace.seconds_per_epoch

    each = seconds_of(epochs)
    longer = document.confirm.epochs if document.confirm is not None else None
    slot_seconds = (trainings.total - trainings.confirmation) * each
    slot_seconds += trainings.confirmation * seconds_of(longer or epochs)
    return DurationAnswer(
        seconds=slot_seconds / document.parallel,
        slot_seconds=slot_seconds,
        seconds_per_training=each,
        trainings=trainings.total,
        basis=(
            f"{pace.trials} trials of {pace.searches} earlier searches of this task took "
            f"{pace.seconds:.3g} s on average; with {document.parallel} side by side, and none "
            "stopped early"
        ),
    )


def _pace(session: Session, earlier: Sequence[Search]) -> _Pace | None:
    """Return the pace of the trials that were completed by their first attempt."""
    rows = session.execute(
        select(Trial.search_id, Attempt.ended_at - Attempt.started_at, Trial.step)
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(
            Trial.search_id.in_([search.id for search in earlier]),
            Trial.kind.in_((TrialKind.BASELINE, TrialKind.PROPOSED)),
            Trial.attempt == 1,
            Attempt.outcome == OutcomeKind.COMPLETED,
        )
        .order_by(Attempt.ended_at.desc())
        .limit(200)
    ).all()
    if not rows:
        return None
    steps = sum(step or 0 for _, _, step in rows)
    total = sum(seconds or 0.0 for _, seconds, _ in rows)
    return _Pace(
        seconds_per_epoch=total / steps if steps else None,
        seconds=total / len(rows),
        trials=len(rows),
        searches=len({search_id for search_id, _, _ in rows}),
    )


def _smallest_gain(
    session: Session, document: SearchSpec, earlier: Sequence[Search]
) -> SmallestGainAnswer:
    """Return the smallest true difference of two means that the paired test detects with `POWER`.

    With n shared seeds and a spread s: (t(1 - a/2) + t(POWER)) * s * sqrt(2/n), the quantiles of
    Student's t with n - 1 degrees of freedom, and a the strictest level of Holm's correction. This
    is for seeds that do the same to no two networks; what they have in common drops out, and
    smaller gains are found.
    The gain is over the better of two originals where one is tuned too, and is found less often:
    in 62 to 76 % of simulated cases with 4 to 16 seeds and originals that are equally good.
    """
    assert document.confirm is not None
    seeds = document.confirm.seeds
    # Imported here, since scipy takes long to load and little needs it.
    from scipy.stats import t

    degrees = seeds - 1
    level = LEVEL / COMPARISONS
    quantiles = float(t.ppf(1 - level / 2, degrees) + t.ppf(POWER, degrees))
    spreads = quantiles * math.sqrt(2 / seeds)
    spread, known = _spread(session, earlier, document.metric)
    basis = f"{seeds} seeds each, found in about {100 * POWER:.0f} % of such cases"
    if "learning_rate_factor" in document.hyperparameters:
        basis += ", in about 70 % over a tuned original that is as good"
    if spread is not None:
        basis += f"; spread of the original over {known} seeds of earlier searches of this task"
    return SmallestGainAnswer(
        spreads=spreads,
        spread=spread,
        gain=None if spread is None else spreads * spread,
        is_fraction=is_fraction(document.metric),
        basis=basis,
    )


def _spread(session: Session, earlier: Sequence[Search], metric: str) -> tuple[float | None, int]:
    """Return the original's spread in a metric over seeds, and the number of seeds.

    The variances of the searches with that metric as first objective are pooled.
    """
    groups = []
    for search in (one for one in earlier if metric_in(one.document) == metric):
        tested = confirmation.load(session, search).samples.get(confirmation.ORIGINAL)
        values = trials.values_of(trials.originals(session, search.id))
        group = tested.values if tested is not None else values
        if len(group) > 1:
            groups.append(group)
    if not groups:
        return None, 0
    weights = [len(group) - 1 for group in groups]
    pooled = sum(w * stdev(g) ** 2 for w, g in zip(weights, groups, strict=True)) / sum(weights)
    return math.sqrt(pooled), sum(map(len, groups))


def _warnings(document: SearchSpec, space: Space | None, trainings: TrainingsAnswer) -> list[str]:
    found = []
    if space is None:
        found.append(
            "the sites are not known before a worker has inspected the network; what does not "
            "fit them is refused then"
        )
    elif len(space.groups) > 1 and document.budget.trials < TRIALS_PER_LAYER * len(space.groups):
        groups, choices = len(space.groups), len(document.choices)
        found.append(
            f"{document.budget.trials} trials over {groups} groups of sites with {choices} choices "
            "each are hardly better than chance (simulated for 40 trials, 19 sites and 5 "
            "choices: 18 % of the attainable gain, against 90 % by the best uniform network); "
            f"give {TRIALS_PER_LAYER * groups} trials, or search fewer groups: sites.per auto, "
            "stage or network"
        )
    if trainings.confirmation > trainings.proposed:
        found.append(
            f"the confirmation takes up to {trainings.confirmation} trainings beside "
            f"{trainings.proposed} proposed; `confirm` with fewer seeds is cheaper and finds "
            "only larger gains, and `confirm: null` confirms nothing"
        )
    if document.baselines.original_seeds < MIN_SEEDS_FOR_LUCK:
        found.append(
            f"below {MIN_SEEDS_FOR_LUCK} seeds of the original there is no luck line "
            "while the search runs"
        )
    return found
