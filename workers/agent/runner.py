"""Running one attempt in a slot, from its assignment to its outcome."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search_space.contract import Assignment, FailureClass, LeaseFile, Outcome
from workers.agent.slot import RunningAttempts, SlotAttempt
from workers.agent.task_code import code_of
from workers.attempt.exit_outcomes import failed, outcome_of, preempted, read_failure
from workers.attempt.http import HttpClient
from workers.attempt.lease_files import AttemptFiles
from workers.attempt.log_stream import LogStream
from workers.attempt.workspace import folder_of
from workers.errors import LeaseLost, ServiceError, WorkerError
from workers.executors.base import Executor, ProcessSpec
from workers.tasks.base import Task

logger = logging.getLogger(__name__)

_PATIENCE_IN_LEASES = 10


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended.

    Attributes:
        checkpoint_seconds: Until its first checkpoint was saved; without one, until its end.
        is_place_gone: Whether the machine that it ran on was lost.
    """

    outcome: Outcome
    checkpoint_seconds: float
    is_place_gone: bool


class AttemptRunner:
    """Starts the process of an attempt, waits for its end, and sends the outcome it left unsent.

    Args:
        url: The service, without `/v1`.
        codes: Digest of each task's code when the worker started.
        checkpoint_seconds: A trial uploads its checkpoints at most once in so many seconds.
        outcome_seconds: Patience for sending an outcome once the worker is stopping.
        is_stopping: Whether the worker is.
    """

    def __init__(
        self,
        url: str,
        *,
        home: Path,
        tasks: Mapping[str, Task],
        codes: Mapping[str, str | None],
        executor: Executor,
        attempts: RunningAttempts,
        checkpoint_seconds: float,
        outcome_seconds: float,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._url = url
        self._home = home
        self._tasks = tasks
        self._codes = codes
        self._executor = executor
        self._attempts = attempts
        self._checkpoint_seconds = checkpoint_seconds
        self._outcome_seconds = outcome_seconds
        self._is_stopping = is_stopping

    def run(self, assignment: Assignment, slot: int) -> AttemptResult:
        """Run one attempt to its end; its lease is renewed until its outcome is sent."""
        # A name of our own: an id from the service is no safe file name.
        name = uuid.uuid4().hex
        files = AttemptFiles(self._home / "leases" / f"{name}.json", self._home / "logs" / name)
        attempt = SlotAttempt(assignment, files)
        began = time.time()
        with self._attempts.holding(attempt):
            try:
                self._attempts.end_earlier_attempts(assignment)
                outcome = self._conclude(attempt, self._run_process(attempt, slot))
                seconds = files.first_checkpoint_at() - began
                return AttemptResult(outcome, seconds, attempt.is_place_gone)
            finally:
                files.remove()

    def _conclude(self, attempt: SlotAttempt, outcome: Outcome) -> Outcome:
        """Send `outcome` unless the process has sent one itself; return the one that counts."""
        files = attempt.files
        # The process removes the lease file when it has sent its outcome itself.
        is_unsent = files.lease.exists() or attempt.process is None
        if is_unsent and not attempt.cancelled:
            files.upload_checkpoint()
            self.send_outcome(attempt.assignment, outcome)
            return outcome
        return files.sent_outcome() or preempted()

    def _run_process(self, attempt: SlotAttempt, slot: int) -> Outcome:
        """Return the outcome to send in case the process has sent none."""
        files = attempt.files
        settings = dict(attempt.assignment.task)
        name = str(settings.pop("name", None))
        lease = LeaseFile(
            url=self._url,
            assignment=attempt.assignment,
            directory=str(folder_of(self._home, attempt.assignment.trial)),
            code=self._codes.get(name),
            checkpoint_seconds=self._checkpoint_seconds,
        )
        try:
            files.write_lease(lease)
        except OSError as error:
            return failed(FailureClass.ENVIRONMENT, f"the trial could not be started: {error}")
        task = self._tasks.get(name)
        if task is None:
            return failed(FailureClass.ENVIRONMENT, f"this worker offers no task named {name!r}")
        if (changed := _change_of(task, since=lease.code)) is not None:
            return failed(FailureClass.ENVIRONMENT, changed)
        with LogStream(lease, files.log):
            spec = ProcessSpec(task, settings, files.lease, files.log)
            return self._wait_for_process(attempt, slot, spec)

    def _wait_for_process(self, attempt: SlotAttempt, slot: int, spec: ProcessSpec) -> Outcome:
        try:
            process = self._executor.start(spec, slot=slot)
        except (OSError, WorkerError) as error:
            return failed(FailureClass.ENVIRONMENT, f"the process could not be started: {error}")
        attempt.process = process
        assignment = attempt.assignment
        logger.info("trial %s: attempt %d starts", assignment.trial, assignment.attempt)
        # Both may have happened while it was started, when there was no process to end yet.
        if attempt.cancelled or self._is_stopping():
            process.terminate()
        code = None
        while code is None:
            code = process.wait()
        logger.info("trial %s: the process ended with %d", assignment.trial, code)
        if self._is_stopping():
            return preempted()
        found = process.cause or read_failure(spec.lease_file, code)
        return found or outcome_of(code, assignment.kind, spec.log)

    def send_outcome(self, assignment: Assignment, outcome: Outcome) -> None:
        """Send the outcome of an attempt for its process."""
        logger.info("trial %s: %s: %s", assignment.trial, outcome.failure, outcome.message[:200])
        patience = self._outcome_seconds
        if not self._is_stopping():
            patience = assignment.lease_seconds * _PATIENCE_IN_LEASES
        client = HttpClient(self._url, assignment.token, patience=patience)
        try:
            client.call("POST", f"/leases/{assignment.lease}/outcome", outcome, timeout=patience)
        except LeaseLost:
            logger.info("trial %s: had its outcome already", assignment.trial)
        except ServiceError as error:
            # The lease will expire, which has the same effect, only later.
            logger.warning("trial %s: its outcome was not sent: %s", assignment.trial, error)
        finally:
            client.close()


def _change_of(task: Task, *, since: str | None) -> str | None:
    """Return a sentence if the code of a task is not what it was when the worker started."""
    if since is None or (now := code_of(task)) == since:
        return None
    return (
        f"the code of {task.offer.name!r} has changed since this worker started "
        f"({since}, now {now}); restart it, and submit the search anew to search with that code"
    )
