"""`python -m workers` as people and `actsearch` start it."""

import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search_space.catalog.lookup import CATALOG
from search_space.contract import SHAPES, WEIGHTS, FailureClass, OutcomeKind
from search_space.spec import ActivationSpec, Candidate
from tests.workers.stub import Stub
from tests.workers.test_executors import gone

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]

SCRIPT = """
import os, sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
import actsearch

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.outer(F.relu(self.inner(x)))

example_batch = torch.zeros(2, 4)
with actsearch.trial() as t:
    model = t.apply(Network(), example_batch)
    optimizer = SGD(t.parameter_groups(model, lr=0.1, weight_decay=5e-4))
    scheduler = LambdaLR(optimizer, lambda step: 0.9**step)
    for epoch in t.epochs(2, model, optimizer, scheduler):
        x = torch.randn(64, 4)
        optimizer.zero_grad()
        F.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
        scheduler.step()
        t.report(epoch, validation_accuracy=0.5, pid=os.getpid())
        if "hang" in sys.argv:
            __import__("signal").pause()
if "draw" in sys.argv:
    import pathlib, time
    while not pathlib.Path("go-on").exists():
        time.sleep(0.02)
    pathlib.Path("drawn").touch()
"""

TASKS = f"""
[tasks.script]
command = [{sys.executable!r}, "train.py"]
epochs = 2
environment = {{PYTHONPATH = {str(ROOT)!r}}}
[tasks.hanging]
command = [{sys.executable!r}, "train.py", "hang"]
epochs = 2
environment = {{PYTHONPATH = {str(ROOT)!r}}}
[tasks.drawing]
command = [{sys.executable!r}, "train.py", "draw"]
epochs = 2
environment = {{PYTHONPATH = {str(ROOT)!r}}}
[tasks.careless]
command = [{sys.executable!r}, "-c", "print('hello')"]
epochs = 2
"""


@pytest.fixture
def start(stub: Stub, tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "tasks.toml").write_text(TASKS)
    started = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "workers", "--url", stub.url, "--slots", "1"]
        home = ["--home", str(tmp_path / "home"), "--tasks", str(tmp_path / "tasks.toml")]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                [*command, *home, *arguments], cwd=ROOT, stdin=pipe, stderr=pipe, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def inspected(stub: Stub, task: str) -> Any:
    """Have the task's network inspected and return its plan."""
    plan = stub.outcome(stub.give(stub.assignment({"name": task}))).plan
    assert plan is not None
    return plan


def trial(stub: Stub, task: str) -> str:
    plan = inspected(stub, task)
    sites = {site.id: ActivationSpec("acon_c") for site in plan.sites}
    given = stub.assignment({"name": task}, Candidate(sites), fingerprint=plan.fingerprint)
    return stub.give(given)


@pytest.mark.slow
def test_a_user_s_script_is_inspected_and_trained(stub: Stub, start: Start) -> None:
    start()
    lease = trial(stub, "script")
    outcome = stub.outcome(lease)
    assert outcome.outcome is OutcomeKind.COMPLETED, outcome.message
    assert [report.step for report in stub.reports] == [1, 2]
    assert {WEIGHTS, SHAPES} <= set(stub.artifacts)
    (manifest,) = stub.manifests
    assert [task.name for task in manifest.tasks][-4:] == [
        "script",
        "hanging",
        "drawing",
        "careless",
    ]
    assert manifest.activations == list(CATALOG)
    assert {"python", "torch", "activation-search"} <= set(manifest.versions)


@pytest.mark.slow
def test_what_a_script_does_after_its_last_word_is_not_cut_off(
    stub: Stub, start: Start, tmp_path: Path
) -> None:
    start()
    lease = trial(stub, "drawing")
    assert stub.outcome(lease).outcome is OutcomeKind.COMPLETED
    # What has ended is no longer renewed.
    stub.cancelled.add(lease)
    before = len(stub.beats)
    stub.wait(lambda: stub.beats[before:].count([lease]) >= 3)
    (tmp_path / "go-on").touch()
    stub.wait(lambda: [] in stub.beats[-1:])
    assert (tmp_path / "drawn").exists()


def test_the_same_script_runs_alone(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, script], env=environment, check=False).returncode == 0


@pytest.mark.slow
def test_a_killed_script_is_lost(stub: Stub, start: Start) -> None:
    start()
    lease = trial(stub, "hanging")
    stub.wait(lambda: stub.reports)
    pid = int(stub.reports[0].metrics["pid"])
    subprocess.run(["kill", "-9", str(pid)], check=True)
    assert stub.outcome(lease).failure is FailureClass.LOST


def test_a_script_that_never_uses_the_handle_is_told_so(stub: Stub, start: Start) -> None:
    start()
    outcome = stub.outcome(stub.give(stub.assignment({"name": "careless"})))
    assert outcome.failure is FailureClass.USER_ERROR
    assert "called apply" in outcome.message
    assert "hello" in outcome.message


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stdin"])
def test_a_stopped_worker_gives_back_what_it_runs(stub: Stub, start: Start, how: str) -> None:
    worker = start(*["--exit-with-stdin"][: how == "stdin"])
    lease = trial(stub, "hanging")
    stub.wait(lambda: stub.reports)
    if how == "stdin":
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    else:
        worker.send_signal(signal.Signals[how])
    assert stub.outcome(lease).failure is FailureClass.PREEMPTED
    assert worker.wait(30) == 0


def test_a_worker_s_ids_begin_with_its_name(stub: Stub, start: Start) -> None:
    worker = start("--name", "lab-1")
    stub.wait(lambda: stub.requests)
    worker.terminate()
    stub.wait(lambda: stub.left)
    assert re.fullmatch(r"lab-1-[0-9a-f]{8}", stub.left[0])


def test_a_name_that_is_no_part_of_an_id_is_refused(start: Start) -> None:
    worker = start("--name", "a/b")
    assert worker.wait(30) == 1
    assert worker.stderr is not None
    assert "--name: expected 1 to 64 letters, digits and hyphens, got 'a/b'" in worker.stderr.read()


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process_behind(stub: Stub, start: Start) -> None:
    worker = start()
    trial(stub, "hanging")
    stub.wait(lambda: stub.reports)
    worker.kill()
    assert gone(int(stub.reports[0].metrics["pid"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "slurm"], "--executor: expected local or ray"),
        (["--slots", "none"], "--slots: expected auto or a number"),
        (["--slots", "0"], "--slots: expected auto or a number"),
        (["--tasks", "missing.toml"], "missing.toml: "),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    start: Start, arguments: list[str], message: str
) -> None:
    worker = start(*arguments)
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 1
    assert message in errors


def test_a_worker_without_a_needed_token_ends_and_says_so(stub: Stub, start: Start) -> None:
    stub.token = "secret"
    worker = start()
    _, errors = worker.communicate(timeout=30)
    assert worker.returncode == 1
    assert "401: a token is needed" in errors
