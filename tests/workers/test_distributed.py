"""One trial in two processes that torchrun starts: one voice, one verdict, one set of weights."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import nn, tensor

from search_space.contract import (
    CHECKPOINT,
    WEIGHTS,
    FailureClass,
    LeaseFile,
    Measuring,
    OutcomeKind,
    TaskOffer,
    Verdict,
)
from search_space.spec import ActivationSpec, Candidate
from tests.workers.stub import Stub
from tests.workers.test_agent import make_agent, running
from tests.workers.test_executors import gone
from workers.attempt.exit_outcomes import read_failure
from workers.executors.base import ProcessSpec
from workers.executors.local import LocalExecutor
from workers.executors.local_process import LocalProcess
from workers.handle.checkpoint import weights
from workers.tasks.base import CommandTask, Place

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = """
import itertools, json, os, sys
from pathlib import Path
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
import actsearch

distributed.init_process_group("gloo")
rank = distributed.get_rank()
out = Path(os.environ["OUT"])
mode = os.environ.get("MODE", "")
with actsearch.trial() as t:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model = t.apply(model, torch.zeros(2, 4))
    begun = {k: v.tolist() for k, v in model.state_dict().items()}
    (out / f"{rank}-begun.json").write_text(json.dumps(begun))
    shared = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.1), momentum=0.9)
    for epoch in t.epochs(5, shared, optimizer, steps_per_epoch=4):
        drawn = torch.rand(()).item()
        (out / f"{rank}-pid").write_text(str(os.getpid()))
        for _ in itertools.count() if mode == "endless" else range(4):
            optimizer.zero_grad()
            shared(torch.randn(16, 4) + 3 * rank).square().mean().backward()
            optimizer.step()
        if mode == "fail" and rank == 1:
            raise MemoryError("out of luck")
        if rank == 0 or mode != "one reports":
            seen = {k: v.tolist() for k, v in model.state_dict().items()}
            (out / f"{rank}-{epoch}.json").write_text(json.dumps({"state": seen, "drawn": drawn}))
            t.report(epoch, validation_accuracy=0.5 + rank / 10)
    (out / f"{rank}-through").touch()
distributed.destroy_process_group()
"""


def learned(seen: dict[str, Any]) -> dict[str, Any]:
    statistics = ("1.mean", "1.deviation")
    return {name: value for name, value in seen["state"].items() if name not in statistics}


class Run:
    """Runs the script in two processes for one assignment after another."""

    def __init__(self, stub: Stub, folder: Path) -> None:
        self.stub = stub
        self.out = folder / "out"
        self._folder = folder
        self.out.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        self._executor = LocalExecutor(Place(folder, folder, threads=2), slots=1, gpus=[])

    def __call__(self, candidate: Candidate | None = None, mode: str = "", **fields: Any) -> Any:
        given = self.stub.assignment({"name": "mine"}, candidate, **fields)
        lease = self._folder / f"{given.lease}.json"
        lease.write_text(LeaseFile(url=self.stub.url, assignment=given).model_dump_json())
        task, log = self.task(mode), self._folder / "log"
        running = self._executor.start(ProcessSpec(task, {}, lease, log), slot=0)
        try:
            code = running.wait(120)
        finally:
            running.kill()
        outcome = self.stub.outcomes.get(given.lease)
        if outcome is None and code is not None:
            outcome = read_failure(lease, code)
        assert outcome is not None, (code, log.read_text())
        return outcome

    def task(self, mode: str = "") -> CommandTask:
        environment = {"PYTHONPATH": str(ROOT), "OUT": str(self.out), "MODE": mode}
        offer = TaskOffer(name="mine", settings={}, metrics={"validation_accuracy": "maximize"})
        command = (sys.executable, "train.py")
        return CommandTask(offer, command, self._folder, environment, devices=2)

    def pid(self, rank: int) -> int:
        """Wait until a rank trains, and return its process."""
        return int(until_written(self.out / f"{rank}-pid", str.isdecimal))

    def seen(self, rank: int, epoch: int) -> dict[str, Any]:
        return dict(json.loads((self.out / f"{rank}-{epoch}.json").read_text()))


def until_written(path: Path, is_enough: Callable[[str], bool]) -> str:
    end = time.monotonic() + 60
    while not is_enough(text := path.read_text() if path.exists() else ""):
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return text


@pytest.fixture
def run(stub: Stub, tmp_path: Path) -> Run:
    return Run(stub, tmp_path)


def test_two_processes_serve_a_trial_with_one_voice(run: Run, stub: Stub) -> None:
    plan = run().plan
    assert [site.id for site in plan.sites] == ["1"]
    candidate = Candidate({"1": ActivationSpec("pwlu", {"segments": 4})})

    # Measured on rank 0 alone, with statistics that no other rank has.
    measuring = Measuring(memory=True)
    outcome = run(candidate, fingerprint=plan.fingerprint, measuring=measuring)
    assert outcome.outcome is OutcomeKind.COMPLETED
    assert [report.metrics["validation_accuracy"] for report in stub.reports] == [0.5] * 5
    assert len(stub.measurements) == 1
    for epoch in range(5):
        one, other = run.seen(0, epoch), run.seen(1, epoch)
        assert learned(one) == learned(other)
        assert one["drawn"] != other["drawn"]
    # The phase has ended with the first epoch, after four batches: bounds lie around the mean of
    # all inputs, and those of the ranks are far apart.
    means = [tensor(run.seen(rank, 0)["state"]["1.mean"]) / (1 - 0.9**4) for rank in range(2)]
    state = {name: tensor(value) for name, value in run.seen(0, 0)["state"].items()}
    assert not torch.allclose(means[0], means[1], atol=0.5)
    torch.testing.assert_close((state["1.left"] + state["1.right"]) / 2, sum(means) / 2)
    straight = stub.artifacts[WEIGHTS]
    assert load(straight).keys() == run.seen(0, 4)["state"].keys()

    stub.verdicts = {2: Verdict.RELEASE}
    (run.out / "0-through").unlink()
    (run.out / "1-through").unlink()
    outcome = run(candidate, fingerprint=plan.fingerprint)
    assert outcome.outcome is OutcomeKind.RELEASED
    assert not list(run.out.glob("*-through"))

    stub.verdicts = {}
    checkpoint = stub.checkpoint(CHECKPOINT)
    run(candidate, "one reports", fingerprint=plan.fingerprint, checkpoint=checkpoint, attempt=2)
    assert stub.artifacts[WEIGHTS] == straight
    assert [report.step for report in stub.reports] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]


def test_every_rank_loads_the_weights_that_a_search_tunes(run: Run, stub: Stub) -> None:
    plan = run().plan
    given = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    stub.start = weights(given)
    digest = hashlib.sha256(stub.start).hexdigest()
    candidate = Candidate({"1": ActivationSpec("silu")})
    outcome = run(candidate, fingerprint=plan.fingerprint, start=digest)
    assert outcome.outcome is OutcomeKind.COMPLETED
    expected = {name: value.tolist() for name, value in given.state_dict().items()}
    for rank in range(2):
        assert json.loads((run.out / f"{rank}-begun.json").read_text()) == expected


def test_the_failure_of_another_rank_has_its_class(run: Run) -> None:
    plan = run().plan
    candidate = Candidate({"1": ActivationSpec("silu")})
    outcome = run(candidate, "fail", fingerprint=plan.fingerprint)
    assert outcome.failure is FailureClass.OUT_OF_MEMORY
    assert "out of luck" in outcome.message


@pytest.mark.parametrize(
    ("rank", "number", "failure", "message"),
    [
        (0, signal.SIGKILL, FailureClass.LOST, "SIGKILL"),
        (1, signal.SIGKILL, FailureClass.LOST, "SIGKILL"),
        (1, signal.SIGSEGV, FailureClass.USER_ERROR, "SIGSEGV"),
    ],
)
def test_how_a_rank_was_ended_decides_and_not_what_the_other_saw_of_it(
    run: Run, tmp_path: Path, rank: int, number: int, failure: FailureClass, message: str
) -> None:
    stub, plan = run.stub, run().plan
    given = Candidate({"1": ActivationSpec("silu")})
    agent = make_agent(stub, tmp_path / "home", tasks={"ranked": run.task("endless")})
    with running(agent):
        assignment = stub.assignment({"name": "ranked"}, given, fingerprint=plan.fingerprint)
        lease = stub.give(assignment)
        os.kill(run.pid(rank), number)
        outcome = stub.outcome(lease)
    assert outcome.failure is failure
    assert message in outcome.message


IDLE = """
import os, signal
os.write(1, f"{os.getpid()}\\n".encode())
hog = b"x" * (int(os.environ.get("HOG", 0)) * 2**20)
signal.pause()
"""
AGENT = """
import sys
from pathlib import Path
from tests.workers.test_distributed import start_idle

if __name__ == "__main__":
    start_idle(Path(sys.argv[1])).wait()
"""


def start_idle(folder: Path, *, hog: int = 0, memory_bytes: int | None = None) -> LocalProcess:
    """Start two ranks that take `hog` MiB each and wait for ever."""
    offer = TaskOffer(name="idle", settings={}, metrics={})
    command = (sys.executable, "-c", IDLE)
    task = CommandTask(offer, command, folder, {"HOG": str(hog)}, devices=2)
    place = Place(folder, folder, threads=2, memory_bytes=memory_bytes)
    spec = ProcessSpec(task, {}, folder / "lease.json", folder / "log")
    return LocalExecutor(place, slots=1, gpus=[]).start(spec, slot=0)


def ranks(folder: Path) -> list[int]:
    """Wait until both ranks have said who they are."""
    text = until_written(folder / "log", lambda text: len(_numbers(text)) == 2)
    return _numbers(text)


def _numbers(text: str) -> list[int]:
    return [int(line) for line in text.splitlines() if line.isdecimal()]


def test_killing_a_trial_ends_every_rank(tmp_path: Path) -> None:
    running = start_idle(tmp_path)
    pids = ranks(tmp_path)
    running.kill()
    assert running.wait(30) == -signal.SIGKILL
    assert all(gone(pid) for pid in pids)


def test_every_rank_dies_with_the_agent(tmp_path: Path) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    pids = ranks(tmp_path)
    agent.kill()
    agent.wait()
    assert all(gone(pid) for pid in pids)


def test_the_memory_of_every_rank_counts(tmp_path: Path) -> None:
    running = start_idle(tmp_path, hog=600, memory_bytes=1000 * 2**20)
    pids = ranks(tmp_path)
    try:
        assert running.wait(30) == -signal.SIGKILL
        assert running.cause is not None
        assert running.cause.failure is FailureClass.OUT_OF_MEMORY
        assert all(gone(pid) for pid in pids)
    finally:
        running.kill()
