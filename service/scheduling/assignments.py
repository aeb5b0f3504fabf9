"""Assigns a trial to a slot that asks for work: a waiting one, an expired one, or a new one."""

import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from search_space.contract import (
    CHECKPOINT,
    Assignment,
    Checkpoint,
    FailureClass,
    LeaseRequest,
    TrialKind,
    WorkerManifest,
    read_candidate,
)
from search_space.search import metric_in, weights_in
from service.errors import Invalid, ServiceError
from service.results import confirmation
from service.runtime.context import Context, new_id
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import ENDED_STATES, SearchState, TrialState, Wanted
from service.searches.lifecycle import fail, finish_if_done, set_state
from service.searches.offers import check_against_offers
from service.store import attempts, searches, trial_counts, trials, workers
from service.store.database import now
from service.store.documents import document_of
from service.store.models import Attempt, Search, Trial
from service.trials.measurements import known_measurements, requested_measurements
from service.trials.proposals import propose
from service.trials.retries import LEASE_EXPIRED, fail_if_lost_too_often

log = logging.getLogger(__name__)

CPU = "cpu"
"""Prefix of the name of a device that is no GPU, as in `cpu, 8 cores`."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot that asks for work, and its worker's manifest."""

    request: LeaseRequest
    manifest: WorkerManifest


def find_work(context: Context, request: LeaseRequest, without_work: set[str]) -> Assignment | None:
    """Return the attempt that a slot shall run, or None if there is no work for it.

    A repeated request gets the attempt that it was given before. If one search raises an error,
    the others are asked nevertheless; the error is raised if none of them has work.

    Args:
        without_work: Searches that have no work at the moment; those found here are added.
    """
    error_of_search: Exception | None = None
    with context.database.read() as session:
        repeated = attempts.of_request(session, request)
        if repeated is not None:
            return _assignment(context, session, repeated)
        manifest = workers.manifest_of(workers.get(session, request.worker))
        if manifest.resting is not None:
            return None
        slot = _Slot(request, manifest)
        eligible = _eligible_searches(session, slot)
    for search_id in (one for one in eligible if one not in without_work):
        try:
            assignment = _assign_from(context, search_id, slot)
        except Exception as error:
            # A search that raises must not keep the workers from the others.
            if not isinstance(error, ServiceError):
                log.exception("could not assign work of search %s", search_id)
            error_of_search = error
            continue
        if assignment is not None:
            return assignment
        without_work.add(search_id)
    if error_of_search is not None:
        raise error_of_search
    return None


def _eligible_searches(session: Session, slot: _Slot) -> list[str]:
    """Return the searches that the slot's worker can run, in the order of scheduling."""
    codes = workers.codes(slot.manifest)
    benched = searches.benched_searches(session, slot.request.boot_id)
    return [
        search.id
        for search in searches.in_scheduling_order(session)
        if search.id not in benched
        and search.document["task"]["name"] in codes
        and workers.has_its_code(search, codes)
    ]


def _assign_from(context: Context, search_id: str, slot: _Slot) -> Assignment | None:
    """Assign a waiting or expired trial of a search, or a new one."""
    # The study stays locked between the two transactions, so that no other proposal comes between.
    with context.studies.lock(search_id) as locked_study:
        with unit_of_work(context, search_id) as unit:
            if unit.search.wanted != Wanted.RUN or unit.search.state in ENDED_STATES:
                return None
            if not _still_fits_the_offers(unit):
                return None
            finish_if_done(unit)
            trial = _take_trial(unit)
            if trial is not None:
                return _lease(unit, trial, slot)

        def hand_out(unit: UnitOfWork, trial: Trial) -> Assignment:
            trial.state = TrialState.RUNNING
            trial.attempt = 1
            trial.started_at = now()
            return _lease(unit, trial, slot)

        return propose(context, locked_study, search_id, hand_out)


def _still_fits_the_offers(unit: UnitOfWork) -> bool:
    """Fail a search that contradicts what workers offer: at submission there may have been none."""
    search = unit.search
    if search.state == SearchState.PREPARING:
        try:
            check_against_offers(unit.session, document_of(search), workers.offers(unit.session))
        except Invalid as error:
            fail(unit, str(error))
            return False
    return True


def _take_trial(unit: UnitOfWork) -> Trial | None:
    """Take a trial that waits, or one whose attempt has expired."""
    context, session, search = unit.context, unit.session, unit.search
    # Workers could not renew while no process was the leader, so none counts as lost at first.
    grace_is_over = searches.clock(session) > context.started_at + context.settings.lease_seconds
    has_room = trial_counts.running(session, search.id) < search.parallel
    trial = trials.take(session, search.id, expired=grace_is_over, waiting=has_room)
    expired = None if trial is None else attempts.open_of(session, trial.id)
    if trial is None or expired is None:
        return trial
    lost = LEASE_EXPIRED
    attempts.end(session, expired, lost.outcome, lost.failure, lost.message)
    if not fail_if_lost_too_often(unit, trial):
        return trial
    # The trial has ended: `trials.take` has counted a next attempt, which does not take place.
    trial.attempt = expired.number
    finish_if_done(unit)
    return None


def _lease(unit: UnitOfWork, trial: Trial, slot: _Slot) -> Assignment:
    request = slot.request
    attempt = Attempt(
        id=new_id("l"),
        trial_id=trial.id,
        number=trial.attempt,
        worker_id=request.worker,
        boot_id=request.boot_id,
        slot=request.slot,
        request=request.request,
        gpus=_gpus(slot.manifest),
        started_at=now(),
        spoke_at=now(),
        expires_at=now() + unit.context.settings.lease_seconds,
    )
    unit.session.add(attempt)
    unit.session.flush()
    if trial.kind == TrialKind.INSPECTION:
        # From here on only workers with this code get trials of the search.
        code = workers.codes(slot.manifest)[unit.search.document["task"]["name"]]
        unit.search.pinned = {**unit.search.pinned, "code": code}
    else:
        if unit.search.state == SearchState.QUEUED:
            unit.search.started_at = now()
            set_state(unit, SearchState.RUNNING)
        unit.publish_trial(trial)
    return _assignment(unit.context, unit.session, attempt)


def _gpus(manifest: WorkerManifest) -> float:
    """Return how many GPUs one slot of a worker has; it may be a fraction."""
    if manifest.gpus_per_slot is not None:
        return manifest.gpus_per_slot
    return sum(not device.startswith(CPU) for device in manifest.devices) / manifest.slots


def _task_of(search: Search, trial: Trial) -> dict[str, Any]:
    """Return the task's settings; a confirmation may train for more epochs than the search."""
    task = dict(search.document["task"])
    confirm = search.document.get("confirm")
    if trial.kind == TrialKind.CONFIRMATION and confirm and confirm["epochs"] is not None:
        task["epochs"] = confirm["epochs"]
    return task


def _is_exported(session: Session, search: Search, trial: Trial) -> bool:
    """Whether a trial exports its network: it may become the trial of the confirmed winner."""
    if trial.kind != TrialKind.CONFIRMATION:
        return False
    return confirmation.load(session, search).may_become_winner_trial(trial)


def _assignment(context: Context, session: Session, attempt: Attempt) -> Assignment:
    trial = trials.get(session, attempt.trial_id)
    search = searches.get(session, trial.search_id)
    checkpoint = trials.artifact(session, trial.id, CHECKPOINT)
    return Assignment(
        lease=attempt.id,
        token=context.attempt_token(attempt.id),
        search=search.id,
        trial=trial.id,
        number=trial.number,
        kind=trial.kind,
        attempt=attempt.number,
        lease_seconds=context.settings.lease_seconds,
        task=_task_of(search, trial),
        metric=metric_in(search.document),
        candidate=None if trial.candidate is None else read_candidate(trial.candidate),
        fingerprint=search.fingerprint,
        seed=trial.seed,
        measuring=None if trial.candidate is None else requested_measurements(search),
        measured=known_measurements(session, trial),
        micro_batches=1 + attempts.failed_by(session, trial.id, FailureClass.OUT_OF_MEMORY),
        start=weights_in(search.document),
        export=_is_exported(session, search, trial),
        checkpoint=(
            None
            if checkpoint is None
            else Checkpoint(name=checkpoint.name, sha256=checkpoint.sha256)
        ),
    )
