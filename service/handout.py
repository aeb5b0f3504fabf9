"""Handing out work: from a slot's request to an attempt."""

import logging
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
from service.confirmation import may_stand_for_the_winner
from service.core import Core, new_id
from service.documents import document_of
from service.entry import summary
from service.errors import Invalid, ServiceError
from service.life import fail, set_state, settle
from service.measurements import known, measuring
from service.offers import check_against_offers
from service.proposals import propose
from service.store import attempts, events, searches, trials, workers
from service.store.database import now
from service.store.models import (
    ENDED_STATES,
    Attempt,
    Search,
    SearchState,
    Trial,
    TrialState,
    Wanted,
)
from service.turn import Turn, take_turn
from service.words import WENT_SILENT, lost

log = logging.getLogger(__name__)

CPU = "cpu"
"""Begins the name of a device that is none of the dear ones, as in `cpu, 8 cores`."""


def find_work(core: Core, request: LeaseRequest, nothing: set[str]) -> Assignment | None:
    """Return the attempt that a slot shall run, or None when nothing waits for it.

    A repeated request gets the attempt that it was given before. A search that breaks keeps no
    other from its work; its error is raised where none of them has any.

    Args:
        nothing: Searches that have nothing to give at the moment; those found so are added.
    """
    broken: Exception | None = None
    with core.database.read() as session:
        repeated = attempts.of_request(session, request)
        if repeated is not None:
            return _assignment(core, session, repeated)
        manifest = workers.manifest_of(workers.get(session, request.worker))
        if manifest.resting is not None:
            return None
        codes = workers.codes(manifest)
        wanting = [
            search.id
            for search in searches.in_turn(session)
            if search.id not in nothing
            and search.document["task"]["name"] in codes
            and workers.has_its_code(search, codes)
            and not searches.benched(session, search.id, request.boot_id)
        ]
    for search_id in wanting:
        try:
            assignment = _work_of(core, search_id, request)
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("could not ask search %s for work", search_id)
            broken = error
            continue
        if assignment is not None:
            return assignment
        nothing.add(search_id)
    if broken is not None:
        raise broken
    return None


def _work_of(core: Core, search_id: str, request: LeaseRequest) -> Assignment | None:
    """Take what waits in a search, or what is new."""
    with core.studies.hold(search_id) as held:
        with take_turn(core, search_id) as turn:
            if turn.search.wanted != Wanted.RUN or turn.search.state in ENDED_STATES:
                return None
            if not _still_fits_the_offers(turn):
                return None
            settle(turn)
            trial = _take(turn)
            if trial is not None:
                return _lease(turn, trial, request)

        def hand_out(turn: Turn, trial: Trial) -> Assignment:
            trial.state = TrialState.RUNNING
            trial.attempt = 1
            trial.started_at = now()
            return _lease(turn, trial, request)

        return propose(core, held, search_id, hand_out)


def _still_fits_the_offers(turn: Turn) -> bool:
    """Fail a search that was taken in before any worker could tell what is wrong with it."""
    search = turn.search
    if search.state == SearchState.PREPARING:
        try:
            check_against_offers(turn.session, document_of(search), workers.offers(turn.session))
        except Invalid as error:
            fail(turn, str(error))
            return False
    return True


def _take(turn: Turn) -> Trial | None:
    """Take a trial that waits, or one from an attempt that fell silent."""
    core, session, search = turn.core, turn.session, turn.search
    grace_is_over = searches.clock(session) > core.started_at + core.settings.lease_seconds
    has_room = trials.running(session, search.id) < search.parallel
    trial = trials.take(session, search.id, expired=grace_is_over, waiting=has_room)
    silent = None if trial is None else attempts.open_of(session, trial.id)
    if trial is None or silent is None:
        return trial
    attempts.end(session, silent, WENT_SILENT.outcome, WENT_SILENT.failure, WENT_SILENT.message)
    if not lost(turn, trial):
        return trial
    # It is given up: nobody gets the attempt that was taken.
    trial.attempt = silent.number
    settle(turn)
    return None


def _lease(turn: Turn, trial: Trial, request: LeaseRequest) -> Assignment:
    attempt = Attempt(
        id=new_id("l"),
        trial_id=trial.id,
        number=trial.attempt,
        worker_id=request.worker,
        boot_id=request.boot_id,
        slot=request.slot,
        request=request.request,
        gpus=_gpus(workers.manifest_of(workers.get(turn.session, request.worker))),
        started_at=now(),
        spoke_at=now(),
        expires_at=now() + turn.core.settings.lease_seconds,
    )
    turn.session.add(attempt)
    turn.session.flush()
    if trial.kind == TrialKind.INSPECTION:
        codes = workers.codes(workers.manifest_of(workers.get(turn.session, request.worker)))
        code = codes[turn.search.document["task"]["name"]]
        turn.search.pinned = {**turn.search.pinned, "code": code}
    else:
        if turn.search.state == SearchState.QUEUED:
            turn.search.started_at = now()
            set_state(turn, SearchState.RUNNING)
        events.add(turn.session, turn.search, "trial", summary(trial))
    return _assignment(turn.core, turn.session, attempt)


def _gpus(manifest: WorkerManifest) -> float:
    """Return the share of GPUs that a slot of a worker has."""
    if manifest.gpus_per_slot is not None:
        return manifest.gpus_per_slot
    return sum(not device.startswith(CPU) for device in manifest.devices) / manifest.slots


def _task_of(search: Search, trial: Trial) -> dict[str, Any]:
    """Return the task's settings; a confirmation may be longer than the search's trials."""
    task = dict(search.document["task"])
    confirm = search.document.get("confirm")
    if trial.kind == TrialKind.CONFIRMATION and confirm and confirm["epochs"] is not None:
        task["epochs"] = confirm["epochs"]
    return task


def _assignment(core: Core, session: Session, attempt: Attempt) -> Assignment:
    trial = trials.get(session, attempt.trial_id)
    search = searches.get(session, trial.search_id)
    checkpoint = trials.artifact(session, trial.id, CHECKPOINT)
    return Assignment(
        lease=attempt.id,
        token=core.attempt_token(attempt.id),
        search=search.id,
        trial=trial.id,
        number=trial.number,
        kind=trial.kind,
        attempt=attempt.number,
        lease_seconds=core.settings.lease_seconds,
        task=_task_of(search, trial),
        metric=metric_in(search.document),
        candidate=None if trial.candidate is None else read_candidate(trial.candidate),
        fingerprint=search.fingerprint,
        seed=trial.seed,
        measuring=None if trial.candidate is None else measuring(search),
        measured=known(session, trial),
        micro_batches=1 + attempts.failed_by(session, trial.id, FailureClass.OUT_OF_MEMORY),
        start=weights_in(search.document),
        export=may_stand_for_the_winner(session, search, trial),
        checkpoint=(
            None
            if checkpoint is None
            else Checkpoint(name=checkpoint.name, sha256=checkpoint.sha256)
        ),
    )
