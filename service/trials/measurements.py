"""Measurements of candidates: what workers measure, and which candidates are infeasible."""

from collections.abc import Iterator, Mapping

from sqlalchemy.orm import Session

from search_space.contract import (
    FailureClass,
    Measurements,
    MeasurementsReply,
    Measuring,
    Outcome,
    OutcomeKind,
    TrialKind,
)
from service.errors import Fault, Invalid
from service.runtime.context import Context
from service.runtime.unit_of_work import unit_of_work
from service.store import attempts, trials
from service.store.documents import document_of
from service.store.models import Search, Trial
from service.trials.outcomes import end_attempt


def requested_measurements(search: Search) -> Measuring:
    """Return what workers measure for a search: for `measure`, its constraints and objectives."""
    document = document_of(search)
    objectives = (objective.metric for objective in document.objectives)
    needed = {*document.constraints.limits, *objectives}
    asked = document.measure
    return Measuring(
        latency=asked.latency or "latency_ratio" in needed,
        memory=asked.memory or "memory_ratio" in needed,
        batch=asked.batch,
        dtype=asked.dtype,
        compiled=asked.compiled,
        folded=asked.folded,
    )


def known_measurements(session: Session, trial: Trial) -> list[Measurements]:
    """Return the measurements of a trial's candidate so far, which need not be repeated."""
    if trial.key is None:
        return []
    found = trials.measurements_of(session, trial.search_id, trial.key)
    return [Measurements.model_validate(one) for one in found]


def record_measurements(context: Context, lease: str, body: Measurements) -> MeasurementsReply:
    """Store the measurements of a trial, and end it if they violate a constraint.

    Only the first measurements of a trial are stored, so a repeated request gets the same answer.
    The original and confirmations are trained in any case: all others are compared with them.

    Raises:
        LeaseLost: If the attempt has ended or was superseded; then nothing changes.
        Invalid: If a ratio that is limited is missing.
    """
    with context.database.read() as session:
        search_id = attempts.search_of(session, lease)
    with unit_of_work(context, search_id) as unit:
        attempt, trial = attempts.current(unit.session, lease)
        attempts.record_activity(unit.session, [lease], seconds=context.settings.lease_seconds)
        # A worker that got no answer sends the measurements again.
        if trial.measurements is None:
            _check(document_of(unit.search).constraints.limits, body)
            trial.measurements = body.model_dump(mode="json")
        violated = list(violation_texts(unit.search, trial))
        if not violated or not _may_be_infeasible(trial):
            return MeasurementsReply(verdict="continue")
        reason = "; ".join(violated)
        failure = FailureClass.INFEASIBLE
        outcome = Outcome(outcome=OutcomeKind.FAILED, failure=failure, message=reason)
        end_attempt(unit, trial, attempt, outcome)
    return MeasurementsReply(verdict="infeasible", reason=reason)


def violation_texts(search: Search, trial: Trial) -> Iterator[str]:
    """Yield a text for each constraint that a trial's measurements violate beyond their error."""
    if trial.measurements is None:
        return
    ratios = Measurements.model_validate(trial.measurements).ratios
    for name, limit in document_of(search).constraints.limits.items():
        ratio = ratios.get(name)
        # If the interval contains the limit, the true ratio may be on either side.
        if ratio is not None and ratio.low > limit:
            span = f" ({ratio.low:.3g} to {ratio.high:.3g})" if ratio.low < ratio.high else ""
            yield f"{name} is {ratio.value:.3g}{span}, over the limit of {limit:g}"


def _check(limits: Mapping[str, float], body: Measurements) -> None:
    missing = [name for name in limits if name not in body.ratios]
    if missing:
        given = ", ".join(body.ratios) or "none"
        message = f"{', '.join(missing)} is limited and missing; there are {given}"
        raise Invalid([Fault("ratios", message)])


def _may_be_infeasible(trial: Trial) -> bool:
    return trial.label != trials.ORIGINAL and trial.kind != TrialKind.CONFIRMATION
