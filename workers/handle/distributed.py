"""One trial in several processes: rank 0 speaks with the service, the others follow it.

What the others must know (the assignment, where the checkpoint lies, verdicts) rank 0 leaves in
the store through which torchrun's processes have found each other; so nothing depends on when,
or with which backend, a script makes its process group.
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
from workers.attempt.attempt import Attempt, Ended
from workers.attempt.exit_outcomes import leave_behind
from workers.errors import MisusedHandle

# Rank 0 may measure, evaluate or wait for the service for as long as it takes; whoever waits
# for it in vain is ended by torchrun.
_PATIENCE = timedelta(days=7)
_RESUMED = "resumed.safetensors"
_INFEASIBLE = "infeasible"


def keep_statistics_apart(model: nn.Module) -> None:
    """Let every rank collect its own statistics, which are averaged when the phase ends.

    DDP would copy those of rank 0 to all others before each pass. It has to be told before it is
    given the network, and of names within that network itself.
    """
    phased = set(phased_modules(model))
    names = [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if module in phased
        for name, _ in module.named_buffers()
    ]
    if names:
        ignored = getattr(model, "_ddp_params_and_buffers_to_ignore", ())
        tell_ddp = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        tell_ddp(model, {*ignored, *names})  # type: ignore[no-untyped-call]


def open_attempt(path: Path) -> "Attempt | Following":
    """Return the attempt of a lease file, as this process takes part in it.

    Raises:
        MisusedHandle: If this is one of several processes that were not started by torchrun.
    """
    world, rank = (int(os.environ.get(name, usual)) for name, usual in _PLACE)
    if world == 1:
        return Attempt(path)
    store = _store()
    return Leading(path, store) if rank == 0 else Following(path, store, rank)


class Leading(Attempt):
    """Rank 0 of several: an attempt that lets the others know."""

    def __init__(self, path: Path, store: PrefixStore) -> None:
        super().__init__(path)
        self._store = store
        # The token stays here.
        told = self.assignment.model_copy(update={"token": ""})
        self._say_to_all("assignment", told.model_dump_json())
        self._say_to_all("directory", str(self.directory))

    def tell_measurements(self, measured: Callable[[], Measurements]) -> None:
        try:
            super().tell_measurements(measured)
        except Ended:
            self._say_to_all("measured", _INFEASIBLE)
            raise
        self._say_to_all("measured", "")

    def report(self, report: Report) -> Verdict:
        try:
            verdict = super().report(report)
        except Ended:
            self.pass_on(report.step, Verdict.CANCEL)
            raise
        self.pass_on(report.step, verdict)
        return verdict

    def pass_on(self, step: int, verdict: Verdict) -> Verdict:
        self._say_to_all(f"verdict/{step}", verdict.value)
        return verdict

    def checkpoint(self) -> bytes | None:
        return self._hand_on("checkpoint", _RESUMED, super().checkpoint())

    def start(self) -> bytes | None:
        return self._hand_on("start", START, super().start())

    def end(self, outcome: Outcome | None) -> None:
        """Say the last word, a failure to the agent: where another rank was killed or has failed,
        this one only sees that a peer is gone.
        """
        if outcome is None or outcome.failure is None:
            super().end(outcome)
        else:
            leave_behind(self._path, outcome)
            self.finish()

    def _hand_on(self, key: str, name: str, data: bytes | None) -> bytes | None:
        """Leave a file where the others find it, and return it."""
        if data is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / name).write_bytes(data)
        self._say_to_all(key, "" if data is None else name)
        return data

    def _say_to_all(self, key: str, text: str) -> None:
        self._store.set(key, text)


class Following:
    """Any other rank: has the interface of an `Attempt`, and hears what rank 0 was told."""

    leads = False
    # Rank 0 stores what the trial ran on.
    code: str | None = None

    def __init__(self, path: Path, store: PrefixStore, rank: int) -> None:
        self._path = path
        self._store = store
        self.assignment = Assignment.model_validate_json(self._hear("assignment"))
        self.directory = Path(self._hear("directory"))
        self.seed_parts: tuple[str, ...] = (f"rank {rank}",)

    def tell_measurements(self, measured: Callable[[], Measurements]) -> None:  # noqa: ARG002
        if self._hear("measured") == _INFEASIBLE:
            raise Ended(None)

    def report(self, report: Report) -> Verdict:
        return Verdict(self._hear(f"verdict/{report.step}"))

    def pass_on(self, step: int, verdict: Verdict) -> Verdict:  # noqa: ARG002
        return Verdict(self._hear(f"verdict/{step}"))

    def keep(self, checkpoint: bytes) -> None:
        raise AssertionError(f"rank 0 alone keeps a checkpoint, of {len(checkpoint)} bytes")

    def hand_in(self) -> None:
        raise AssertionError("rank 0 alone has a checkpoint to hand in")

    def upload(self, name: str, data: bytes) -> None:
        raise AssertionError(f"rank 0 alone stores {name} of {len(data)} bytes")

    def checkpoint(self) -> bytes | None:
        return self._handed_on("checkpoint")

    def start(self) -> bytes | None:
        return self._handed_on("start")

    def end(self, outcome: Outcome | None) -> None:
        """Leave to the agent how this rank failed."""
        if outcome is not None and outcome.failure is not None:
            leave_behind(self._path, outcome)

    def close(self) -> None:
        pass

    def _handed_on(self, key: str) -> bytes | None:
        name = self._hear(key)
        return (self.directory / name).read_bytes() if name else None

    def _hear(self, key: str) -> str:
        return str(self._store.get(key).decode())


_PLACE = (("WORLD_SIZE", "1"), ("RANK", "0"))


def _store() -> PrefixStore:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise MisusedHandle(
            "WORLD_SIZE says that this is one of several processes, and torchrun has not started "
            "them; set `devices` of the task and leave its command as it is for one"
        )
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
    return PrefixStore("actsearch", store)
