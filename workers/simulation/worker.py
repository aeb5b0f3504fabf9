"""One simulated worker: a slot that leases, reports and concludes as real ones do."""

import threading
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
from workers.attempt.http import Wire
from workers.errors import LeaseLost, NotInTable, NotKnown
from workers.simulation.answers import METRIC, Answers, activations, offer
from workers.simulation.table import Table

_POLL_SECONDS = 20.0
_UNTIL_TOLD = 3.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How simulated workers behave.

    Attributes:
        epochs_per_second: None: as many as the service takes.
        kill_rate: Chance, in each epoch, that the worker dies without a word; a new one takes
            its place.
        drop_rate: Chance that the answer to a call is lost, so that the call is repeated.
    """

    epochs_per_second: float | None = None
    kill_rate: float = 0.0
    drop_rate: float = 0.0


@dataclass(slots=True)
class Tally:
    """What a worker has done in all its lives."""

    trainings: int = 0
    reports: int = 0
    deaths: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Life:
    """A worker from its registration to its death."""

    id: str
    boot_id: str


class _Died(Exception):
    """The worker dies in the middle of an epoch."""


class SimulatedWorker:
    """Serves one slot, life after life.

    Args:
        wire: Shared by all workers of a fleet.
        random: Decides on its deaths and on lost answers.
        stop: Says when to hand back what is running and return.
    """

    def __init__(
        self,
        wire: Wire,
        table: Table,
        answers: Answers,
        behaviour: Behaviour,
        *,
        random: Random,
        stop: threading.Event,
    ) -> None:
        self._wire = wire
        self._table = table
        self._answers = answers
        self._behaviour = behaviour
        self._random = random
        self._stop = stop
        self._life: Life | None = None
        self._lease: str | None = None
        self.tally = Tally()
        self.lease_seconds = _UNTIL_TOLD

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                self._live()
            except _Died:
                self._life, self._lease = None, None
                self.tally.deaths += 1

    def beat(self) -> None:
        """Give a sign of life; called from the fleet's heart."""
        life, lease = self._life, self._lease
        if life is None:
            return
        beat = Heartbeat(boot_id=life.boot_id, leases=[lease] if lease else [])
        try:
            answer = self._wire.call("POST", f"/workers/{life.id}/heartbeat", beat)
        except NotKnown:
            self._register(life)
            return
        told = HeartbeatReply.model_validate_json(answer.content).leases
        if lease is not None and told.get(lease) is Verdict.CANCEL and self._lease == lease:
            self._lease = None

    def leave(self) -> None:
        """Ask for no more work."""
        if self._life is not None:
            self._wire.call("DELETE", f"/workers/{self._life.id}")

    def _live(self) -> None:
        self._life = life = Life(f"simulated-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)
        self._register(life)
        request = 0
        while not self._stop.is_set():
            assignment = self._ask(life, request)
            request += 1
            if assignment is not None:
                self._train(assignment)

    def _register(self, life: Life) -> None:
        manifest = WorkerManifest(
            boot_id=life.boot_id,
            slots=1,
            devices=["simulated"],
            gpus_per_slot=0,
            versions={},
            tasks=[offer(self._table)],
            activations=activations(self._table),
        )
        answer = self._say("PUT", f"/workers/{life.id}", manifest)
        self.lease_seconds = WorkerWelcome.model_validate_json(answer).lease_seconds

    def _ask(self, life: Life, request: int) -> Assignment | None:
        wanted = LeaseRequest(
            worker=life.id,
            boot_id=life.boot_id,
            slot=0,
            request=request,
            wait_seconds=_POLL_SECONDS,
        )
        try:
            answer = self._say("POST", "/leases", wanted)
        except NotKnown:
            self._register(life)
            return None
        return Assignment.model_validate_json(answer) if answer else None

    def _train(self, assignment: Assignment) -> None:
        self._lease = assignment.lease
        try:
            outcome = self._outcome(assignment)
            if outcome is not None:
                self._speak(assignment, "outcome", outcome)
                self.tally.trainings += outcome.outcome is OutcomeKind.COMPLETED
        except LeaseLost:
            self.tally.lost += 1
        self._lease = None

    def _outcome(self, assignment: Assignment) -> Outcome | None:
        """Report a trial to its end and return its last word; None where nobody waits for it."""
        if assignment.kind is TrialKind.INSPECTION:
            return Outcome(outcome=OutcomeKind.COMPLETED, plan=self._table.plan)
        try:
            curve = self._answers.curve(assignment)
        except NotInTable as error:
            return failed(FailureClass.USER_ERROR, str(error))
        for step, value in enumerate(curve, 1):
            self._spend_an_epoch()
            if self._stop.is_set():
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
        answer = self._speak(assignment, "reports", reports)
        self.tally.reports += 1
        return ReportsReply.model_validate_json(answer).verdict

    def _spend_an_epoch(self) -> None:
        if self._behaviour.epochs_per_second is not None:
            self._stop.wait(1 / self._behaviour.epochs_per_second)
        if self._random.random() < self._behaviour.kill_rate:
            raise _Died

    def _speak(self, assignment: Assignment, what: str, body: BaseModel) -> bytes:
        path = f"/leases/{assignment.lease}/{what}"
        return self._say("POST", path, body, token=assignment.token)

    def _say(self, method: str, path: str, body: BaseModel, *, token: str | None = None) -> bytes:
        seconds = _POLL_SECONDS + 10
        if self._random.random() < self._behaviour.drop_rate:
            # The service has heard it; that we have not heard the answer is nothing it can know.
            self._wire.call(method, path, body, timeout=seconds, token=token)
        return self._wire.call(method, path, body, timeout=seconds, token=token).content
