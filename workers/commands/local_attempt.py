"""A trial without a service, for training it again and for benchmarks."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from search_space.contract import Assignment, Measurements, Outcome, Report, Verdict
from workers.attempt.attempt import AttemptEnded
from workers.handle.served import ServedTrial
from workers.tasks.base import FunctionTask, Place
from workers.tasks.loading import target_of


class LocalAttempt:
    """Replaces the `Attempt` at a trial: it keeps what it gets, and sends nothing.

    Args:
        directory: The trial's own folder.
        last: The epoch after which it is stopped; None: it runs through.
        start: The weights that it starts from, if it does.

    Attributes:
        reports: All reports.
        digests: SHA-256 of each file that would be stored, by its name.
        outcome: Set when the trial has ended.
    """

    is_rank_zero = True
    seed_parts: tuple[str, ...] = ()
    code: str | None = None

    def __init__(
        self,
        assignment: Assignment,
        directory: Path,
        *,
        last: int | None = None,
        start: bytes | None = None,
    ) -> None:
        self.assignment = assignment
        self.directory = directory
        self.reports: list[Report] = []
        self.digests: dict[str, str] = {}
        self.outcome: Outcome | None = None
        self._last = last
        self._start = start

    def report(self, report: Report) -> Verdict:
        self.reports.append(report)
        return Verdict.STOP if report.step == self._last else Verdict.CONTINUE

    def broadcast_verdict(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        return verdict

    def report_measurements(self, measure: Callable[[], Measurements]) -> None:
        """Measure nothing: the costs of a candidate do not change its training."""

    def save_checkpoint(self, checkpoint: bytes) -> None:
        """Save nothing: this training is not resumed."""

    def flush(self) -> None:
        """Do nothing, as nothing is saved."""

    def upload(self, name: str, data: bytes) -> None:
        self.digests[name] = hashlib.sha256(data).hexdigest()

    def load_checkpoint(self) -> bytes | None:
        return None

    def load_start_weights(self) -> bytes | None:
        return self._start

    def end(self, outcome: Outcome | None) -> None:
        self.outcome = outcome

    def close(self) -> None:
        pass


def run_locally(task: FunctionTask, attempt: LocalAttempt, place: Place) -> None:
    """Run a trial in this process; `attempt` has its results afterwards.

    Raises:
        Exception: The error of the training, if it failed.
    """
    torch.set_num_threads(place.threads)
    settings = {name: value for name, value in attempt.assignment.task.items() if name != "name"}
    # A trial that was stopped ends by this exception, which would end the process.
    with contextlib.suppress(AttemptEnded), ServedTrial(attempt) as handle:
        target_of(task)(handle, settings, place)
