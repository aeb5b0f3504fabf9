"""A trial without a service: for what is trained again, and for measuring."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from search_space.contract import Assignment, Measurements, Outcome, Report, Verdict
from workers.attempt.attempt import Ended
from workers.handle.served import Inside
from workers.tasks.base import FunctionTask, Place
from workers.tasks.loading import target_of


class Alone:
    """Stands in for the attempt at a trial: keeps what it is told, and tells nobody.

    Args:
        directory: The trial's own folder.
        last: The epoch after which it is stopped; None: it runs through.
        start: The weights that it starts from, where it does.
    """

    leads = True
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

    def pass_on(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        return verdict

    def tell_measurements(self, measured: Callable[[], Measurements]) -> None:
        """Measure nothing: what a candidate costs changes nothing of its training."""

    def keep(self, checkpoint: bytes) -> None:
        """Keep nothing: a run that is repeated starts at the beginning."""

    def hand_in(self) -> None:
        """Hand in nothing, as nothing is kept."""

    def upload(self, name: str, data: bytes) -> None:
        self.digests[name] = hashlib.sha256(data).hexdigest()

    def checkpoint(self) -> bytes | None:
        return None

    def start(self) -> bytes | None:
        return self._start

    def end(self, outcome: Outcome | None) -> None:
        self.outcome = outcome

    def close(self) -> None:
        pass


def run_alone(task: FunctionTask, alone: Alone, place: Place) -> None:
    """Run a trial in this process; `alone` has then been told what came of it.

    Raises:
        Exception: What the training raised, if it failed.
    """
    torch.set_num_threads(place.threads)
    settings = {name: value for name, value in alone.assignment.task.items() if name != "name"}
    # It ends the process where the trial was stopped.
    with contextlib.suppress(Ended), Inside(alone) as handle:
        target_of(task)(handle, settings, place)
