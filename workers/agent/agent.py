"""The agent: leases trials for the slots of one machine, and keeps their leases alive."""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search_space.contract import (
    Assignment,
    FailureClass,
    Heartbeat,
    HeartbeatReply,
    LeaseFile,
    LeaseRequest,
    Outcome,
    Verdict,
    WorkerManifest,
    WorkerWelcome,
)
from workers.agent.deadline import Deadline
from workers.agent.health import Health
from workers.agent.presence import is_alone, present
from workers.agent.slot import Work
from workers.agent.task_code import code_of
from workers.attempt.exit_outcomes import failed, left_behind, outcome_of, preempted
from workers.attempt.http import LONGEST_PAUSE, Wire
from workers.attempt.lease_files import Files
from workers.attempt.log_stream import LogStream
from workers.attempt.workspace import folder_of, sweep
from workers.errors import LeaseLost, NotKnown, ServiceError, WorkerError
from workers.executors.base import Executor, Order
from workers.tasks.base import Task

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
_BETWEEN_EMPTY_ANSWERS = 0.1
_LAST_WORDS_SECONDS = 5.0
# Two beats may be lost before a lease runs out.
_BEATS_PER_LEASE = 3
_LEASES_OF_PATIENCE = 10
_DRAINING = "draining: it finishes what it runs, and leaves"


@dataclass(frozen=True, slots=True)
class Habits:
    """How a worker goes about its work.

    Attributes:
        grace: Seconds that trials have to hand in when the worker is told to stop.
        checkpoint_seconds: A trial uploads its checkpoints at most so often.
        failures: So many trials in a row that fail for reasons of the worker's end its leasing.
        until: When its time ends, in seconds since the epoch.
        margin: Seconds that a trial is thought to need for its first checkpoint.
    """

    grace: float = 15.0
    checkpoint_seconds: float = 30.0
    failures: int = 5
    until: float = math.inf
    margin: float = 60.0


class _Stopping(Exception):
    """The agent was told to stop while it waited for the service."""


class Agent:
    """Runs until it is stopped: one thread per slot, and one for heartbeats.

    A service that is away is waited for, for ever; running trials go on meanwhile.

    Args:
        url: The service, without `/v1`.
        worker: Id of this worker.
        manifest: What is told to the service.
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
        habits: Habits | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._worker = worker
        self._manifest = manifest
        self._tasks = tasks
        self._executor = executor
        self._home = home
        self._habits = habits or Habits()
        self._deadline = Deadline(
            self._habits.until, grace=self._habits.grace, margin=self._habits.margin
        )
        self._health = Health(self._habits.failures)
        self._stop = threading.Event()
        self._resting = threading.Event()
        self._slots_left = executor.slots
        self._working: dict[str, Work] = {}
        self._changed = threading.Condition()
        self._fatal: Exception | None = None

    def run(self) -> None:
        """Serve until `stop`. Raises `NotWelcome` where the service will not have us."""
        for folder in ("leases", "logs"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        with present(self._home, self._worker):
            sweep(self._home, alone=is_alone(self._home, self._worker))
            self._with_wire(self._begin)
            if not self._stop.wait(_bounded(self._deadline.seconds_left)):
                logger.info("the worker's time is over")
                self._stop.set()
            self._leave()
        if self._fatal is not None:
            raise self._fatal

    def _leave(self) -> None:
        self._take_leave()
        self._end_trials()

    def stop(self) -> None:
        """End the running trials as preempted and return from `run`. Callable from anywhere."""
        self._stop.set()

    def drain(self) -> None:
        """Lease nothing more, and return from `run` when what runs has ended. Callable from
        anywhere.
        """
        threading.Thread(target=self._with_wire, args=(self._drain, _DRAINING)).start()

    def _drain(self, wire: Wire, reason: str) -> None:
        self._rest(wire, reason)
        with self._changed:
            self._changed.wait_for(lambda: self._slots_left == 0 or self._stop.is_set())
        self._stop.set()

    def _rest(self, wire: Wire, reason: str) -> None:
        """Lease nothing more, and say why."""
        if self._resting.is_set():
            return
        self._resting.set()
        logger.warning("leasing nothing more: %s", reason)
        self._manifest = self._manifest.model_copy(update={"resting": reason})
        self._register(wire)

    def _begin(self, wire: Wire) -> None:
        lease_seconds = self._register(wire)
        self._thread("heartbeat", self._beat, lease_seconds)
        for slot in range(self._executor.slots):
            self._thread(f"slot-{slot}", self._serve, slot)

    def _thread(self, name: str, loop: Callable[..., None], *arguments: float) -> None:
        # Daemons: one that waits for a lease has nothing to finish when the agent ends.
        target, everything = self._with_wire, (loop, *arguments)
        threading.Thread(target=target, args=everything, name=name, daemon=True).start()

    def _with_wire(self, loop: Callable[..., None], *arguments: float) -> None:
        """Run `loop`; an error in it ends the whole agent, so that no slot dies unseen."""
        wire = Wire(self._url, self._token, pause=self._pause)
        try:
            loop(wire, *arguments)
        except _Stopping:
            pass
        except Exception as error:
            self._fatal = error
            self._stop.set()
        finally:
            wire.close()

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopping

    def _register(self, wire: Wire) -> float:
        answer = wire.call("PUT", f"/workers/{self._worker}", self._manifest)
        logger.info("worker %s serves %s", self._worker, self._url)
        return WorkerWelcome.model_validate_json(answer.content).lease_seconds

    def _register_again(self, wire: Wire) -> float:
        """Tell a service that has forgotten the worker; not one that it has taken leave of."""
        if self._stop.is_set():
            raise _Stopping
        return self._register(wire)

    def _beat(self, wire: Wire, lease_seconds: float) -> None:
        while not self._stop.wait(lease_seconds / _BEATS_PER_LEASE):
            try:
                self._beat_once(wire, lease_seconds)
            except NotKnown:
                lease_seconds = self._register_again(wire)

    def _beat_once(self, wire: Wire, lease_seconds: float) -> None:
        with self._changed:
            leases = list(self._working)
            waiting = [lease for lease, work in self._working.items() if not work.is_placed]
        beat = Heartbeat(boot_id=self._manifest.boot_id, leases=leases, waiting=waiting)
        # A service that comes back takes nothing from a worker within one lease.
        longest = min(LONGEST_PAUSE, lease_seconds / _BEATS_PER_LEASE)
        path = f"/workers/{self._worker}/heartbeat"
        answer = wire.call("POST", path, beat, longest_pause=longest)
        for lease, verdict in HeartbeatReply.model_validate_json(answer.content).leases.items():
            if verdict is Verdict.CANCEL:
                self._cancel(lease)

    def _cancel(self, lease: str) -> None:
        with self._changed:
            work = self._working.get(lease)
        if work is not None and not work.is_in_afterword():
            logger.info("trial %s: cancelled", work.assignment.trial)
            work.cancelled = True
            if work.running is not None:
                work.running.kill()

    def _serve(self, wire: Wire, slot: int) -> None:
        """Lease and run one attempt after another."""
        request = 0
        while not self._resting.is_set():
            if self._deadline.seconds_to_lease <= 0:
                self._too_late()
                break
            assignment = self._lease(wire, slot, request)
            request += 1
            if assignment is None:
                self._pause(_BETWEEN_EMPTY_ANSWERS)
            elif self._resting.is_set():
                self._tell(assignment, preempted())
            else:
                self._run(wire, assignment, slot)
        with self._changed:
            self._slots_left -= 1
            self._changed.notify_all()

    def _too_late(self) -> None:
        args = (self._drain, self._deadline.reason)
        threading.Thread(target=self._with_wire, args=args, daemon=True).start()

    def _lease(self, wire: Wire, slot: int, request: int) -> Assignment | None:
        seconds = min(_POLL_SECONDS, max(0.0, self._deadline.seconds_to_lease))
        wanted = LeaseRequest(
            worker=self._worker,
            boot_id=self._manifest.boot_id,
            slot=slot,
            request=request,
            wait_seconds=seconds,
        )
        try:
            answer = wire.call("POST", "/leases", wanted, timeout=seconds + 10)
        except NotKnown:
            self._register_again(wire)
            return None
        return Assignment.model_validate_json(answer.content) if answer.content else None

    def _run(self, wire: Wire, assignment: Assignment, slot: int) -> None:
        """Run one attempt to its end; its lease is renewed until its last word is said."""
        # A file name of our own: an id comes from outside.
        name = uuid.uuid4().hex
        files = Files(self._home / "leases" / f"{name}.json", self._home / "logs" / name)
        work = Work(assignment, files)
        began = time.time()
        with self._changed:
            self._working[assignment.lease] = work
        try:
            self._end_earlier_of(assignment)
            outcome = self._run_process(work, slot)
            # The process removes the lease file when it has said its last word itself.
            is_owed = files.lease.exists() or work.running is None
            if is_owed and not work.cancelled:
                files.hand_in()
                self._tell(assignment, outcome)
            else:
                outcome = files.said() or preempted()
            self._deadline.note(files.first_checkpoint() - began)
            reason = None if work.is_place_gone else self._health.note(assignment.trial, outcome)
            if reason is not None:
                self._rest(wire, reason)
        finally:
            files.remove()
            with self._changed:
                del self._working[assignment.lease]
                self._changed.notify_all()

    def _end_earlier_of(self, assignment: Assignment) -> None:
        """End what still runs of a trial that was given anew while the service was out of reach:
        it has nothing to say any more, and would use the trial's folder too.
        """
        with self._changed:
            earlier = {
                lease: work
                for lease, work in self._working.items()
                if work.assignment.trial == assignment.trial
                and work.assignment.attempt < assignment.attempt
            }
        for work in earlier.values():
            logger.info(
                "trial %s: attempt %d was followed", assignment.trial, work.assignment.attempt
            )
            work.cancelled = True
            if work.running is not None:
                work.running.kill()
        with self._changed:
            self._changed.wait_for(lambda: earlier.keys().isdisjoint(self._working))

    def _run_process(self, work: Work, slot: int) -> Outcome:
        """Return what is to be said should the process have said nothing."""
        files = work.files
        settings = dict(work.assignment.task)
        name = settings.pop("name", None)
        directory = folder_of(self._home, work.assignment.trial)
        codes = {offer.name: offer.code for offer in self._manifest.tasks}
        told = LeaseFile(
            url=self._url,
            assignment=work.assignment,
            directory=str(directory),
            code=codes.get(str(name)),
            checkpoint_seconds=self._habits.checkpoint_seconds,
        )
        try:
            files.write_lease(told)
        except OSError as error:
            return failed(FailureClass.ENVIRONMENT, f"the trial could not be started: {error}")
        task = self._tasks.get(str(name))
        if task is None:
            return failed(FailureClass.ENVIRONMENT, f"this worker offers no task named {name!r}")
        if (changed := _change_of(task, since=told.code)) is not None:
            return failed(FailureClass.ENVIRONMENT, changed)
        with LogStream(told, files.log):
            return self._wait_for_process(work, slot, Order(task, settings, files.lease, files.log))

    def _wait_for_process(self, work: Work, slot: int, order: Order) -> Outcome:
        try:
            running = self._executor.start(order, slot=slot)
        except (OSError, WorkerError) as error:
            return failed(FailureClass.ENVIRONMENT, f"the process could not be started: {error}")
        work.running = running
        logger.info("trial %s: attempt %d starts", work.assignment.trial, work.assignment.attempt)
        if work.cancelled or self._stop.is_set():
            running.terminate()
        code = None
        while code is None:
            code = running.wait()
        logger.info("trial %s: the process ended with %d", work.assignment.trial, code)
        if self._stop.is_set():
            return preempted()
        told = running.cause or left_behind(order.lease_file, code)
        return told or outcome_of(code, work.assignment.kind, order.log)

    def _tell(self, assignment: Assignment, outcome: Outcome) -> None:
        logger.info("trial %s: %s: %s", assignment.trial, outcome.failure, outcome.message[:200])
        patience = _LAST_WORDS_SECONDS
        if not self._stop.is_set():
            patience = assignment.lease_seconds * _LEASES_OF_PATIENCE
        wire = Wire(self._url, assignment.token, patience=patience)
        try:
            wire.call("POST", f"/leases/{assignment.lease}/outcome", outcome, timeout=patience)
        except LeaseLost:
            logger.info("trial %s: had its outcome already", assignment.trial)
        except ServiceError as error:
            # The lease will expire, which says the same, only later.
            logger.warning("trial %s: outcome not told: %s", assignment.trial, error)
        finally:
            wire.close()

    def _take_leave(self) -> None:
        """Ask for no more work, before a slot that still waits is given what is handed back."""
        wire = Wire(self._url, self._token, patience=_LAST_WORDS_SECONDS)
        try:
            wire.call("DELETE", f"/workers/{self._worker}", timeout=_LAST_WORDS_SECONDS)
        except ServiceError as error:
            logger.info("leaving without a word: %s", error)
        finally:
            wire.close()

    def _end_trials(self) -> None:
        """End every trial, softly at first, and wait until their last words are said."""
        with self._changed:
            running = [work.running for work in self._working.values() if work.running]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._habits.grace
        for process in running:
            if process.wait(max(0.0, deadline - time.monotonic())) is None:
                process.kill()
        with self._changed:
            self._changed.wait_for(lambda: not self._working, timeout=_LAST_WORDS_SECONDS)


def _change_of(task: Task, *, since: str | None) -> str | None:
    """Say that the code of a task is not what it was when the worker started."""
    if since is None or (now := code_of(task)) == since:
        return None
    return (
        f"the code of {task.offer.name!r} has changed since this worker started "
        f"({since}, now {now}); restart it, and submit the search anew to search with that code"
    )


def _bounded(seconds: float) -> float | None:
    """Return a time to wait for, as threads take it; None: for ever."""
    return max(0.0, seconds) if math.isfinite(seconds) else None
