"""One simulated worker: a slot with the requests of a real one, and no training."""

import uuid
from dataclasses import dataclass
from random import Random

from pydantic import BaseModel

from search_space.contract import (
    Assignment,
    FailureClass,
    Heartbeat,
    HeartbeatReply,
    LeaseRequest,
    Outcome,
    OutcomeKind,
    Report,
    Reports,
    ReportsReply,
    TrialKind,
    Verdict,
    WorkerManifest,
    WorkerWelcome,
)
from workers.attempt.exit_outcomes import failed, preempted
from workers.attempt.http import HttpClient
from workers.errors import LeaseLost, NotInTable, NotKnown
from workers.simulation.answers import METRIC, Answers, activations, offer
from workers.simulation.table import Table
from workers.threads import ThreadGroup

_POLL_SECONDS = 20.0
_LEASE_SECONDS_BEFORE_REGISTERED = 3.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How simulated workers behave.

    Attributes:
        epochs_per_second: None: as many as the service takes.
        kill_rate: Probability, in each epoch, that the worker crashes; a new one replaces it.
        drop_rate: Probability that the answer to a request is lost, so that it is repeated.
    """

    epochs_per_second: float | None = None
    kill_rate: float = 0.0
    drop_rate: float = 0.0


@dataclass(slots=True)
class Tally:
    """What a worker has done, over all its crashes."""

    trainings: int = 0
    reports: int = 0
    crashes: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """The ids that a worker registers with; a new one after each crash."""

    id: str
    boot_id: str


class _Crashed(Exception):
    """The worker crashes in the middle of an epoch."""


class SimulatedWorker:
    """Serves one slot. After a simulated crash it registers as a new worker.

    Args:
        client: Shared by all workers of a fleet.
        random: Decides on crashes and lost answers.
        threads: Of the fleet; when it stops, the running trial ends as preempted.
    """

    def __init__(
        self,
        client: HttpClient,
        table: Table,
        answers: Answers,
        behaviour: Behaviour,
        *,
        random: Random,
        threads: ThreadGroup,
    ) -> None:
        self._client = client
        self._table = table
        self._answers = answers
        self._behaviour = behaviour
        self._random = random
        self._threads = threads
        self._registration: Registration | None = None
        self._lease: str | None = None
        self.tally = Tally()
        self.lease_seconds = _LEASE_SECONDS_BEFORE_REGISTERED

    def run(self) -> None:
        while not self._threads.is_stopping:
            try:
                self._serve()
            except _Crashed:
                self._registration, self._lease = None, None
                self.tally.crashes += 1

    def send_heartbeat(self) -> None:
        """Renew the lease; called from a thread of the fleet."""
        registration, lease = self._registration, self._lease
        if registration is None:
            return
        body = Heartbeat(boot_id=registration.boot_id, leases=[lease] if lease else [])
        try:
            answer = self._client.call("POST", f"/workers/{registration.id}/heartbeat", body)
        except NotKnown:
            self._register(registration)
            return
        verdicts = HeartbeatReply.model_validate_json(answer.content).leases
        # The worker may have gone on to another lease while the heartbeat was on its way.
        if lease is not None and verdicts.get(lease) is Verdict.CANCEL and self._lease == lease:
            self._lease = None

    def deregister(self) -> None:
        """Tell the service that the worker leases nothing more."""
        if self._registration is not None:
            self._client.call("DELETE", f"/workers/{self._registration.id}")

    def _serve(self) -> None:
        self._registration = registration = Registration(
            f"simulated-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
        )
        self._register(registration)
        request = 0
        while not self._threads.is_stopping:
            assignment = self._lease_trial(registration, request)
            request += 1
            if assignment is not None:
                self._train(assignment)

    def _register(self, registration: Registration) -> None:
        manifest = WorkerManifest(
            boot_id=registration.boot_id,
            slots=1,
            devices=["simulated"],
            gpus_per_slot=0,
            versions={},
            tasks=[offer(self._table)],
            activations=activations(self._table),
        )
        answer = self._call("PUT", f"/workers/{registration.id}", manifest)
        self.lease_seconds = WorkerWelcome.model_validate_json(answer).lease_seconds

    def _lease_trial(self, registration: Registration, request: int) -> Assignment | None:
        body = LeaseRequest(
            worker=registration.id,
            boot_id=registration.boot_id,
            slot=0,
            request=request,
            wait_seconds=_POLL_SECONDS,
        )
        try:
            answer = self._call("POST", "/leases", body)
        except NotKnown:
            self._register(registration)
            return None
        return Assignment.model_validate_json(answer) if answer else None

    def _train(self, assignment: Assignment) -> None:
        self._lease = assignment.lease
        try:
            outcome = self._outcome(assignment)
            if outcome is not None:
                self._call_lease(assignment, "outcome", outcome)
                self.tally.trainings += outcome.outcome is OutcomeKind.COMPLETED
        except LeaseLost:
            self.tally.lost += 1
        self._lease = None

    def _outcome(self, assignment: Assignment) -> Outcome | None:
        """Report every epoch of a trial and return its outcome; None if the service wants none."""
        if assignment.kind is TrialKind.INSPECTION:
            return Outcome(outcome=OutcomeKind.COMPLETED, plan=self._table.plan)
        try:
            curve = self._answers.curve(assignment)
        except NotInTable as error:
            return failed(FailureClass.USER_ERROR, str(error))
        for step, value in enumerate(curve, 1):
            self._wait_one_epoch()
            if self._threads.is_stopping:
                return preempted()
            if self._lease is None:
                return None
            match self._report(assignment, step, value):
                case Verdict.STOP:
                    return Outcome(outcome=OutcomeKind.STOPPED)
                case Verdict.RELEASE:
                    return Outcome(outcome=OutcomeKind.RELEASED)
                case Verdict.CANCEL:
                    return None
        return Outcome(outcome=OutcomeKind.COMPLETED, test=dict(self._answers.test(assignment)))

    def _report(self, assignment: Assignment, step: int, value: float) -> Verdict:
        reports = Reports(reports=[Report(step=step, metrics={METRIC: value})])
        answer = self._call_lease(assignment, "reports", reports)
        self.tally.reports += 1
        return ReportsReply.model_validate_json(answer).verdict

    def _wait_one_epoch(self) -> None:
        if self._behaviour.epochs_per_second is not None:
            self._threads.wait(1 / self._behaviour.epochs_per_second)
        if self._random.random() < self._behaviour.kill_rate:
            raise _Crashed

    def _call_lease(self, assignment: Assignment, what: str, body: BaseModel) -> bytes:
        path = f"/leases/{assignment.lease}/{what}"
        return self._call("POST", path, body, token=assignment.token)

    def _call(self, method: str, path: str, body: BaseModel, *, token: str | None = None) -> bytes:
        seconds = _POLL_SECONDS + 10
        if self._random.random() < self._behaviour.drop_rate:
            # As if the first answer was lost: the service handles the same request twice.
            self._client.call(method, path, body, timeout=seconds, token=token)
        return self._client.call(method, path, body, timeout=seconds, token=token).content
