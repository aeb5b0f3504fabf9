"""The agent: leases trials for the slots of one machine, and renews their leases."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search_space.contract import (
    Assignment,
    Heartbeat,
    HeartbeatReply,
    LeaseRequest,
    Verdict,
    WorkerManifest,
    WorkerWelcome,
)
from workers.agent.deadline import Deadline
from workers.agent.health import CircuitBreaker
from workers.agent.presence import is_only_worker, present
from workers.agent.runner import AttemptRunner
from workers.agent.slot import RunningAttempts
from workers.attempt.exit_outcomes import preempted
from workers.attempt.http import LONGEST_PAUSE, HttpClient
from workers.attempt.workspace import remove_stale_files
from workers.errors import NotKnown, ServiceError
from workers.executors.base import Executor
from workers.tasks.base import Task
from workers.threads import Stopping, ThreadGroup

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
_BETWEEN_EMPTY_ANSWERS = 0.1
# What a worker that is stopping waits at most for each of its last requests.
_STOPPING_SECONDS = 5.0
# Two heartbeats may be lost before a lease expires.
_HEARTBEATS_PER_LEASE = 3
_DRAINING = "draining: it finishes what it runs, and leaves"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of an agent.

    Attributes:
        grace: Seconds that trials have to save their work when the worker is stopped.
        checkpoint_seconds: A trial uploads its checkpoints at most once in so many seconds.
        failures: Number of different trials in a row that may fail by the worker's fault before
            it leases nothing more.
        until: When the worker's time ends, in seconds since the epoch.
        margin: Seconds that a trial is assumed to need for its first checkpoint.
    """

    grace: float = 15.0
    checkpoint_seconds: float = 30.0
    failures: int = 5
    until: float = math.inf
    margin: float = 60.0


class Agent:
    """Runs until it is stopped: one thread per slot, and one for heartbeats.

    It waits for a service that is away without a limit; running trials go on meanwhile.

    Args:
        url: The service, without `/v1`.
        worker: Id of this worker.
        manifest: What the worker registers with.
        home: Holds the lease files, checkpoints and logs of running trials.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        worker: str,
        manifest: WorkerManifest,
        tasks: Mapping[str, Task],
        executor: Executor,
        home: Path,
        settings: AgentSettings | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._worker = worker
        self._manifest = manifest
        self._home = home
        self._settings = settings = settings or AgentSettings()
        self._deadline = Deadline(settings.until, grace=settings.grace, margin=settings.margin)
        self._circuit_breaker = CircuitBreaker(settings.failures)
        self._threads = ThreadGroup()
        self._leases_nothing = threading.Event()
        self._slots = executor.slots
        self._slots_left = executor.slots
        self._slot_ended = threading.Condition()
        self._attempts = RunningAttempts()
        self._runner = AttemptRunner(
            url,
            home=home,
            tasks=tasks,
            codes={offer.name: offer.code for offer in manifest.tasks},
            executor=executor,
            attempts=self._attempts,
            checkpoint_seconds=settings.checkpoint_seconds,
            outcome_seconds=_STOPPING_SECONDS,
            is_stopping=lambda: self._threads.is_stopping,
        )

    def run(self) -> None:
        """Serve until `stop`. Raises `NotWelcome` if the service refuses this worker."""
        for folder in ("leases", "logs"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        with present(self._home, self._worker):
            only_worker = is_only_worker(self._home, self._worker)
            remove_stale_files(self._home, only_worker=only_worker)
            self._threads.run(self._with_client, self._begin)
            if not self._threads.wait(_timeout(self._deadline.seconds_left)):
                logger.info("the worker's time is over")
                self._threads.stop()
            # In this order: the service hands what the trials give back to other workers, not to
            # a slot of this one that still waits for a lease.
            self._deregister()
            self._attempts.end_all(grace=self._settings.grace, timeout=_STOPPING_SECONDS)
        self._threads.raise_error()

    def stop(self) -> None:
        """End the running trials as preempted and return from `run`. Callable from any thread."""
        self._threads.stop()

    def drain(self) -> None:
        """Lease nothing more, and return from `run` when all running trials have ended.

        Callable from any thread, and from a signal handler.
        """
        self._threads.start(self._with_client, self._drain, _DRAINING)

    def _with_client(self, target: Callable[..., None], *arguments: object) -> None:
        # Each thread has a client of its own, whose pauses end when the agent is stopped.
        client = HttpClient(self._url, self._token, pause=self._threads.sleep)
        try:
            target(client, *arguments)
        finally:
            client.close()

    def _begin(self, client: HttpClient) -> None:
        lease_seconds = self._register(client)
        self._threads.start(
            self._with_client, self._send_heartbeats, lease_seconds, name="heartbeat"
        )
        for slot in range(self._slots):
            self._threads.start(self._with_client, self._serve_slot, slot, name=f"slot-{slot}")

    def _register(self, client: HttpClient) -> float:
        """Register the worker, and return how long a lease lasts in seconds."""
        answer = client.call("PUT", f"/workers/{self._worker}", self._manifest)
        logger.info("worker %s serves %s", self._worker, self._url)
        return WorkerWelcome.model_validate_json(answer.content).lease_seconds

    def _register_again(self, client: HttpClient) -> float:
        """Register with a service that does not know the worker any more."""
        # A worker that has deregistered is unknown, too, and must not come back.
        if self._threads.is_stopping:
            raise Stopping
        return self._register(client)

    def _deregister(self) -> None:
        client = HttpClient(self._url, self._token, patience=_STOPPING_SECONDS)
        try:
            client.call("DELETE", f"/workers/{self._worker}", timeout=_STOPPING_SECONDS)
        except ServiceError as error:
            logger.info("the worker could not deregister: %s", error)
        finally:
            client.close()

    def _drain(self, client: HttpClient, reason: str) -> None:
        self._stop_leasing(client, reason)
        with self._slot_ended:
            self._slot_ended.wait_for(lambda: self._slots_left == 0 or self._threads.is_stopping)
        self._threads.stop()

    def _stop_leasing(self, client: HttpClient, reason: str) -> None:
        """Lease nothing more, and tell the service why."""
        if self._leases_nothing.is_set():
            return
        self._leases_nothing.set()
        logger.warning("leasing nothing more: %s", reason)
        self._manifest = self._manifest.model_copy(update={"resting": reason})
        self._register(client)

    def _send_heartbeats(self, client: HttpClient, lease_seconds: float) -> None:
        while not self._threads.wait(lease_seconds / _HEARTBEATS_PER_LEASE):
            try:
                self._send_heartbeat(client, lease_seconds)
            except NotKnown:
                lease_seconds = self._register_again(client)

    def _send_heartbeat(self, client: HttpClient, lease_seconds: float) -> None:
        attempts = self._attempts.snapshot()
        waiting = [lease for lease, attempt in attempts.items() if not attempt.is_placed]
        body = Heartbeat(boot_id=self._manifest.boot_id, leases=list(attempts), waiting=waiting)
        # A restarted service expires leases only after one lease time. With longer pauses, a
        # worker could return later than that, and lose trials that run well.
        longest = min(LONGEST_PAUSE, lease_seconds / _HEARTBEATS_PER_LEASE)
        path = f"/workers/{self._worker}/heartbeat"
        answer = client.call("POST", path, body, longest_pause=longest)
        for lease, verdict in HeartbeatReply.model_validate_json(answer.content).leases.items():
            if verdict is Verdict.CANCEL:
                self._attempts.cancel(lease)

    def _serve_slot(self, client: HttpClient, slot: int) -> None:
        """Lease and run one attempt after another."""
        # Numbered, so that the service recognises a repeated request and gives the same lease.
        request = 0
        while not self._leases_nothing.is_set():
            if self._deadline.seconds_to_lease <= 0:
                self._threads.start(self._with_client, self._drain, self._deadline.reason)
                break
            assignment = self._lease(client, slot, request)
            request += 1
            if assignment is None:
                self._threads.sleep(_BETWEEN_EMPTY_ANSWERS)
            elif self._leases_nothing.is_set():
                # It was on its way when leasing stopped.
                self._runner.send_outcome(assignment, preempted())
            else:
                self._run(client, assignment, slot)
        with self._slot_ended:
            self._slots_left -= 1
            self._slot_ended.notify_all()

    def _lease(self, client: HttpClient, slot: int, request: int) -> Assignment | None:
        seconds = min(_POLL_SECONDS, max(0.0, self._deadline.seconds_to_lease))
        body = LeaseRequest(
            worker=self._worker,
            boot_id=self._manifest.boot_id,
            slot=slot,
            request=request,
            wait_seconds=seconds,
        )
        try:
            answer = client.call("POST", "/leases", body, timeout=seconds + 10)
        except NotKnown:
            self._register_again(client)
            return None
        return Assignment.model_validate_json(answer.content) if answer.content else None

    def _run(self, client: HttpClient, assignment: Assignment, slot: int) -> None:
        result = self._runner.run(assignment, slot)
        self._deadline.record(result.checkpoint_seconds)
        # A lost machine says nothing about the worker, which may place trials on other ones.
        if result.is_place_gone:
            return
        reason = self._circuit_breaker.record(assignment.trial, result.outcome)
        if reason is not None:
            self._stop_leasing(client, reason)


def _timeout(seconds: float) -> float | None:
    """Return seconds as a timeout of `threading`, where None is no limit."""
    return max(0.0, seconds) if math.isfinite(seconds) else None
