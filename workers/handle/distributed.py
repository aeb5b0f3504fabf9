"""One trial in several processes: rank 0 communicates with the service, the other ranks with it.

Rank 0 writes what the others must know (the assignment, the checkpoint's file, verdicts) into the
store of torchrun's rendezvous. So nothing depends on when, or with which backend, a script makes
its process group.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from torch import nn
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from search_space.activations.learned import phased_modules
from search_space.contract import START, Assignment, Measurements, Outcome, Report, Verdict
from workers.attempt.attempt import Attempt, AttemptEnded
from workers.attempt.exit_outcomes import write_failure
from workers.errors import MisusedHandle

# Rank 0 may measure, evaluate or wait for the service for hours. If it dies, torchrun ends the
# other ranks, so that no timeout is needed.
_PATIENCE = timedelta(days=7)
_RESUMED = "resumed.safetensors"
_INFEASIBLE = "infeasible"
_WORLD_AND_RANK = (("WORLD_SIZE", "1"), ("RANK", "0"))


def keep_statistics_apart(model: nn.Module) -> None:
    """Let every rank collect its own statistics, which are averaged when the phase ends."""
    phased = set(phased_modules(model))
    names = [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if module in phased
        for name, _ in module.named_buffers()
    ]
    if names:
        # DDP copies the buffers of rank 0 to all ranks before each pass, except for these. It
        # reads the list when it is constructed, with names relative to the network it is given.
        ignored = getattr(model, "_ddp_params_and_buffers_to_ignore", ())
        tell_ddp = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        tell_ddp(model, {*ignored, *names})  # type: ignore[no-untyped-call]


def open_attempt(path: Path) -> "Attempt | OtherRankAttempt":
    """Return the attempt of a lease file, for the rank of this process.

    Raises:
        MisusedHandle: If this is one of several processes that torchrun did not start.
    """
    world, rank = (int(os.environ.get(name, default)) for name, default in _WORLD_AND_RANK)
    if world == 1:
        return Attempt(path)
    store = _store()
    return RankZeroAttempt(path, store) if rank == 0 else OtherRankAttempt(path, store, rank)


class RankZeroAttempt(Attempt):
    """Rank 0 of several: sends everything to the service, and the answers to the other ranks."""

    def __init__(self, path: Path, store: PrefixStore) -> None:
        super().__init__(path)
        self._store = store
        # Without the token: only this rank may use it.
        public = self.assignment.model_copy(update={"token": ""})
        self._broadcast("assignment", public.model_dump_json())
        self._broadcast("directory", str(self.directory))

    def report_measurements(self, measure: Callable[[], Measurements]) -> None:
        try:
            super().report_measurements(measure)
        except AttemptEnded:
            # Before this rank ends: the others wait for it.
            self._broadcast("measured", _INFEASIBLE)
            raise
        self._broadcast("measured", "")

    def report(self, report: Report) -> Verdict:
        try:
            verdict = super().report(report)
        except AttemptEnded:
            self.broadcast_verdict(report.step, Verdict.CANCEL)
            raise
        self.broadcast_verdict(report.step, verdict)
        return verdict

    def broadcast_verdict(self, step: int, verdict: Verdict) -> Verdict:
        self._broadcast(f"verdict/{step}", verdict.value)
        return verdict

    def load_checkpoint(self) -> bytes | None:
        return self._share_file("checkpoint", _RESUMED, super().load_checkpoint())

    def load_start_weights(self) -> bytes | None:
        return self._share_file("start", START, super().load_start_weights())

    def end(self, outcome: Outcome | None) -> None:
        """Send the outcome; leave a failure to the agent."""
        if outcome is None or outcome.failure is None:
            super().end(outcome)
        else:
            # The cause may be in another rank: where that was killed, this one has only seen
            # that a peer is gone. The agent compares what all ranks have written.
            write_failure(self._path, outcome)
            self.send_reports()

    def _share_file(self, key: str, name: str, data: bytes | None) -> bytes | None:
        """Write a file for the other ranks, and return its content."""
        # Through the disk, which all ranks share: the store is for small values.
        if data is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / name).write_bytes(data)
        self._broadcast(key, "" if data is None else name)
        return data

    def _broadcast(self, key: str, text: str) -> None:
        self._store.set(key, text)


class OtherRankAttempt:
    """Any rank but 0: the interface of an `Attempt`, with the answers that rank 0 has received."""

    is_rank_zero = False
    # Rank 0 stores the record of the run, which has the code.
    code: str | None = None

    def __init__(self, path: Path, store: PrefixStore, rank: int) -> None:
        self._path = path
        self._store = store
        self.assignment = Assignment.model_validate_json(self._receive("assignment"))
        self.directory = Path(self._receive("directory"))
        # Else all ranks would draw the same dropout masks and the same order of the data.
        self.seed_parts: tuple[str, ...] = (f"rank {rank}",)

    def report_measurements(self, measure: Callable[[], Measurements]) -> None:  # noqa: ARG002
        if self._receive("measured") == _INFEASIBLE:
            raise AttemptEnded(None)

    def report(self, report: Report) -> Verdict:
        return Verdict(self._receive(f"verdict/{report.step}"))

    def broadcast_verdict(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        return Verdict(self._receive(f"verdict/{step}"))

    def save_checkpoint(self, checkpoint: bytes) -> None:
        raise AssertionError(f"only rank 0 saves a checkpoint, of {len(checkpoint)} bytes")

    def flush(self) -> None:
        raise AssertionError("only rank 0 has a checkpoint to upload")

    def upload(self, name: str, data: bytes) -> None:
        raise AssertionError(f"only rank 0 stores {name} of {len(data)} bytes")

    def load_checkpoint(self) -> bytes | None:
        return self._shared_file("checkpoint")

    def load_start_weights(self) -> bytes | None:
        return self._shared_file("start")

    def end(self, outcome: Outcome | None) -> None:
        """Leave a failure of this rank to the agent."""
        if outcome is not None and outcome.failure is not None:
            write_failure(self._path, outcome)

    def close(self) -> None:
        pass

    def _shared_file(self, key: str) -> bytes | None:
        name = self._receive(key)
        return (self.directory / name).read_bytes() if name else None

    def _receive(self, key: str) -> str:
        # Waits until rank 0 has set the key.
        return str(self._store.get(key).decode())


def _store() -> PrefixStore:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise MisusedHandle(
            "WORLD_SIZE says that this is one of several processes, and torchrun has not started "
            "them; set `devices` of the task and leave its command as it is for one"
        )
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
    return PrefixStore("actsearch", store)
