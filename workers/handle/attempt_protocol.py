"""What the handle of a trial needs of an attempt."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from search_space.contract import Assignment, Measurements, Outcome, Report, Verdict


class AttemptProtocol(Protocol):
    """An attempt as the handle uses it.

    `Attempt` sends everything to the service, the ranks of `workers.handle.distributed` divide
    that among them, and `LocalAttempt` has no service. `Attempt` documents the methods.
    """

    @property
    def assignment(self) -> Assignment: ...

    @property
    def directory(self) -> Path: ...

    @property
    def code(self) -> str | None: ...

    @property
    def is_rank_zero(self) -> bool: ...

    @property
    def seed_parts(self) -> tuple[str, ...]: ...

    def report(self, report: Report) -> Verdict: ...

    def broadcast_verdict(self, step: int, verdict: Verdict) -> Verdict: ...

    def report_measurements(self, measure: Callable[[], Measurements]) -> None: ...

    def save_checkpoint(self, checkpoint: bytes) -> None: ...

    def flush(self) -> None: ...

    def upload(self, name: str, data: bytes) -> None: ...

    def load_checkpoint(self) -> bytes | None: ...

    def load_start_weights(self) -> bytes | None: ...

    def end(self, outcome: Outcome | None) -> None: ...

    def close(self) -> None: ...
