"""A training of `actsearch retrain`, which can be stopped and resumed."""

import json
import sys
from pathlib import Path

from search_space.contract import RUN, WEIGHTS, Assignment, Report, Verdict
from workers.commands.local_attempt import LocalAttempt


class ResumableAttempt(LocalAttempt):
    """Saves the checkpoints and the weights of a training in a folder.

    Attributes:
        resumed_at: Number of epochs that were trained before it was stopped.
    """

    def __init__(self, assignment: Assignment, folder: Path, name: str) -> None:
        super().__init__(assignment, folder / "scratch")
        self._name = name
        self._checkpoint = folder / f"{name}.checkpoint"
        self._weights = folder / f"{name}.safetensors"
        self.resumed_at = 0

    def report(self, report: Report) -> Verdict:
        """Print the progress, and go on."""
        value = report.metrics.get(self.assignment.metric, float("nan"))
        sys.stderr.write(
            f"{self._name}, epoch {report.step}: {self.assignment.metric} {value:.4f}\n"
        )
        return super().report(report)

    def save_checkpoint(self, checkpoint: bytes) -> None:
        """Save a checkpoint to resume from."""
        write_atomically(self._checkpoint, checkpoint)

    def load_checkpoint(self) -> bytes | None:
        return self._checkpoint.read_bytes() if self._checkpoint.is_file() else None

    def upload(self, name: str, data: bytes) -> None:
        super().upload(name, data)
        if name == WEIGHTS:
            write_atomically(self._weights, data)
        elif name == RUN:
            self.resumed_at = json.loads(data)["resumed_at"]

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint of a training that is complete."""
        self._checkpoint.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that no reader sees half written."""
    partial = path.with_suffix(f"{path.suffix}.partial")
    partial.write_bytes(data)
    partial.replace(path)
