"""The agent with real processes, against a service over HTTP."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from search_space.contract import (
    CHECKPOINT,
    RUN,
    FailureClass,
    OutcomeKind,
    TaskOffer,
    Verdict,
    WorkerManifest,
)
from tests.workers.conftest import candidate, fingerprint
from tests.workers.stub import Stub, serving
from workers.agent.agent import Agent, AgentSettings
from workers.agent.presence import DRAIN, drain_all, present
from workers.agent.task_code import code_of
from workers.errors import NotWelcome
from workers.executors import local_process
from workers.executors.local import LocalExecutor
from workers.tasks.base import CommandTask, FunctionTask, Place, Task

OFFER = TaskOffer(name="mine", settings={}, metrics={"pid": "maximize"})
MINE = FunctionTask(OFFER, "tests.workers.targets:train")
TASKS: dict[str, Task] = {
    "mine": MINE,
    "silent": FunctionTask(OFFER, "tests.workers.targets:nothing"),
    "wrapped": CommandTask(OFFER, ("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), Path("/")),
}


def make_agent(
    stub: Stub, home: Path, *, slots: int = 1, tasks: dict[str, Task] = TASKS, **settings: Any
) -> Agent:
    executor = LocalExecutor(Place(home, home, threads=1), slots=slots, gpus=[])
    manifest = WorkerManifest(
        boot_id="boot",
        slots=slots,
        devices=executor.devices,
        versions={},
        tasks=[OFFER.model_copy(update={"code": code_of(tasks.get("mine", MINE))})],
        activations=["relu"],
    )
    return Agent(
        stub.url,
        "t",
        worker="w",
        manifest=manifest,
        tasks=tasks,
        executor=executor,
        home=home,
        settings=AgentSettings(**settings),
    )


def join(main: threading.Thread) -> None:
    """Wait for the agent and for what it leaves to end by itself."""
    for thread in (main, *threading.enumerate()):
        if thread is main or thread.name.startswith(("slot-", "heartbeat")):
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def running(agent: Agent) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield thread
    finally:
        agent.stop()
        join(thread)


@pytest.fixture
def agent(stub: Stub, tmp_path: Path) -> Iterator[Agent]:
    made = make_agent(stub, tmp_path)
    with running(made):
        yield made


def give(stub: Stub, then: str = "", **fields: Any) -> str:
    fields = {"fingerprint": fingerprint(), **fields}
    task = {"name": fields.pop("task", "mine"), "then": then}
    return stub.give(stub.assignment(task, candidate(), **fields))


def until_kept(home: Path) -> None:
    """Wait for a checkpoint that the service has not got."""
    end = time.monotonic() + 30
    while not list((home / "leases").glob("*.safetensors")):
        assert time.monotonic() < end
        time.sleep(0.01)


def pid_of_trial(stub: Stub) -> int:
    stub.wait(lambda: stub.reports)
    return int(stub.reports[0].metrics["pid"])


def test_trials_are_run_one_after_another(stub: Stub, tmp_path: Path) -> None:
    with running(make_agent(stub, tmp_path)):
        inspection = stub.give(stub.assignment({"name": "mine"}))
        leases = [give(stub), give(stub)]
        plan = stub.outcome(inspection).plan
        assert plan is not None
        assert plan.fingerprint == fingerprint()
        assert [stub.outcome(x).outcome for x in leases] == [OutcomeKind.COMPLETED] * 2
    assert [report.metrics["threads"] for report in stub.reports] == [1] * 4
    assert json.loads(stub.artifacts[RUN])["environment"]["code"] == code_of(MINE)
    numbers = [number for _, number in stub.requests]
    assert numbers == list(range(len(numbers)))
    assert not [*(tmp_path / "leases").iterdir(), *(tmp_path / "logs").iterdir()]


@pytest.mark.usefixtures("agent")
def test_a_killed_process_is_lost(stub: Stub) -> None:
    lease = give(stub, "hang")
    os.kill(pid_of_trial(stub), signal.SIGKILL)
    outcome = stub.outcome(lease)
    assert (outcome.outcome, outcome.failure) == (OutcomeKind.FAILED, FailureClass.LOST)
    assert "SIGKILL" in outcome.message


@pytest.mark.usefixtures("agent")
def test_a_command_that_is_killed_within_a_shell_is_lost(stub: Stub) -> None:
    outcome = stub.outcome(give(stub, task="wrapped"))
    assert outcome.failure is FailureClass.LOST
    assert "SIGKILL" in outcome.message


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("task", ["mine", "wrapped"])
def test_a_process_that_the_kernel_killed_for_want_of_memory_says_so(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    kills = iter((3, 4))
    monkeypatch.setattr(local_process, "out_of_memory_kills", lambda: next(kills))
    lease = give(stub, "hang", task=task)
    if task == "mine":
        os.kill(pid_of_trial(stub), signal.SIGKILL)
    assert stub.outcome(lease).failure is FailureClass.OUT_OF_MEMORY


@pytest.mark.usefixtures("agent")
def test_a_killed_forkserver_takes_its_trials_along_and_is_replaced(stub: Stub) -> None:
    lease = give(stub, "hang")
    trial = psutil.Process(pid_of_trial(stub))
    forkserver = trial.parent()
    assert forkserver is not None
    forkserver.kill()
    outcome = stub.outcome(lease)
    assert outcome.failure is FailureClass.LOST
    assert "the one that had started it was killed" in outcome.message
    trial.wait(30)
    assert stub.outcome(give(stub)).outcome is OutcomeKind.COMPLETED


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(
    ("then", "message"), [("exit", "exit code 3"), ("crash", "ended by SIGSEGV")]
)
def test_a_process_that_ends_badly_is_the_user_s(stub: Stub, then: str, message: str) -> None:
    outcome = stub.outcome(give(stub, then))
    assert outcome.failure is FailureClass.USER_ERROR
    assert message in outcome.message


def test_a_file_of_a_task_that_was_changed_is_not_run(stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "code" / "mine.py"
    file.parent.mkdir()
    file.write_text("from tests.workers.targets import train")
    mine = FunctionTask(OFFER, "mine:train", file)
    with running(make_agent(stub, tmp_path / "home", tasks={"mine": mine})):
        assert stub.outcome(give(stub)).outcome is OutcomeKind.COMPLETED
        file.write_text("from tests.workers.targets import train  # in another way")
        outcome = stub.outcome(give(stub))
    assert outcome.failure is FailureClass.ENVIRONMENT
    assert "the code of 'mine' has changed since this worker started" in outcome.message


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("inspection", [True, False])
def test_a_process_that_says_nothing_is_told_so(stub: Stub, inspection: bool) -> None:
    task = {"name": "silent"}
    given = stub.assignment(task) if inspection else stub.assignment(task, candidate())
    outcome = stub.outcome(stub.give(given))
    assert outcome.failure is FailureClass.USER_ERROR
    assert ("called apply" if inspection else "never used actsearch.trial()") in outcome.message


@pytest.mark.usefixtures("agent")
def test_a_task_that_is_not_offered_is_the_worker_s_fault(stub: Stub) -> None:
    outcome = stub.outcome(give(stub, task="another"))
    assert outcome.failure is FailureClass.ENVIRONMENT
    assert "'another'" in outcome.message


def test_a_stopped_worker_gives_its_trials_back(stub: Stub, tmp_path: Path) -> None:
    agent = make_agent(stub, tmp_path, slots=2)
    with running(agent) as thread:
        leases = [give(stub, "hang"), give(stub, "hang")]
        stub.wait(lambda: len(stub.reports) == 2)
        agent.stop()
        thread.join(30)
    assert [stub.outcomes[x].failure for x in leases] == [FailureClass.PREEMPTED] * 2


def test_a_worker_that_has_left_does_not_come_back(stub: Stub, tmp_path: Path) -> None:
    with running(make_agent(stub, tmp_path)) as thread:
        stub.wait(lambda: stub.requests)
        seen = len(stub.requests)
        stub.wait(lambda: len(stub.requests) > seen)
        # A slot waits for the answer to its request.
    join(thread)
    assert stub.left == ["w"]
    assert len(stub.manifests) == 1


def test_a_draining_worker_finishes_what_it_runs_and_leaves(stub: Stub, tmp_path: Path) -> None:
    agent = make_agent(stub, tmp_path, slots=2)
    with running(agent) as thread:
        lease = give(stub, "linger")
        stub.wait(lambda: stub.reports)
        agent.drain()
        stub.wait(lambda: stub.manifests[-1].resting)
        refused = stub.give(stub.assignment({"name": "mine"}))
        (tmp_path / "linger").touch()
        thread.join(30)
        assert not thread.is_alive()
    assert stub.outcomes[lease].outcome is OutcomeKind.COMPLETED
    assert stub.left == ["w"]
    # What was on its way to the other slot is handed back.
    assert refused not in stub.outcomes or stub.outcomes[refused].failure is FailureClass.PREEMPTED


def test_the_workers_of_a_home_can_be_told_to_drain(tmp_path: Path) -> None:
    before = signal.signal(DRAIN, lambda *_: told.append(True))
    told: list[bool] = []
    try:
        assert drain_all(tmp_path) == []
        with present(tmp_path, "w"):
            assert drain_all(tmp_path) == ["w"]
            assert told == [True]
        assert drain_all(tmp_path) == []
        (tmp_path / "workers" / "killed").write_text("1")
        assert drain_all(tmp_path) == []
    finally:
        signal.signal(DRAIN, before)


def test_a_worker_whose_time_is_short_leases_nothing_and_leaves(stub: Stub, tmp_path: Path) -> None:
    give(stub)
    agent = make_agent(stub, tmp_path, until=time.time() + 30, margin=60)
    agent.run()
    assert not stub.requests
    resting = stub.manifests[-1].resting
    assert resting is not None
    assert "its time ends at" in resting


@pytest.mark.slow
def test_trials_hand_in_before_the_time_of_their_worker_ends(stub: Stub, tmp_path: Path) -> None:
    lease = give(stub, "hang")
    agent = make_agent(stub, tmp_path, until=time.time() + 15, grace=5, margin=1)
    agent.run()
    assert stub.outcomes[lease].failure is FailureClass.PREEMPTED
    assert CHECKPOINT in stub.artifacts


def test_a_worker_on_which_trial_after_trial_fails_leases_no_more_and_says_why(
    stub: Stub, tmp_path: Path
) -> None:
    with running(make_agent(stub, tmp_path, failures=2)):
        for name in ("trial-a", "trial-b"):
            stub.outcome(give(stub, task="another", trial=name))
        stub.wait(lambda: stub.manifests[-1].resting)
        assert "2 trials in a row failed here" in str(stub.manifests[-1].resting)
        stub.beats.clear()
        stub.wait(lambda: stub.beats)


class KilledProcess:
    """A process that was killed where it ran; implements `TrialProcess`."""

    is_placed = True
    cause = None

    def __init__(self, *, is_place_gone: bool) -> None:
        self.is_place_gone = is_place_gone

    def poll(self) -> int:
        return -signal.SIGKILL

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002
        return -signal.SIGKILL

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        pass


@pytest.mark.parametrize("is_place_gone", [True, False])
def test_machines_that_are_gone_do_not_speak_against_the_worker(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_place_gone: bool
) -> None:
    ended = KilledProcess(is_place_gone=is_place_gone)
    monkeypatch.setattr(LocalExecutor, "start", lambda *_, **__: ended)
    with running(make_agent(stub, tmp_path, failures=2)):
        for name in ("trial-a", "trial-b"):
            assert stub.outcome(give(stub, trial=name)).failure is FailureClass.LOST
        if is_place_gone:
            assert stub.outcome(give(stub, trial="trial-c")).failure is FailureClass.LOST
        else:
            stub.wait(lambda: stub.manifests[-1].resting)


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_trial_that_is_told_to_end_hands_in_its_newest_checkpoint(
    stub: Stub, tmp_path: Path, number: signal.Signals
) -> None:
    lease = give(stub, "hang-later")
    stub.wait(lambda: len(stub.reports) == 2)
    first = stub.artifacts[CHECKPOINT]
    until_kept(tmp_path)
    os.kill(pid_of_trial(stub), number)
    assert stub.outcome(lease).failure is FailureClass.PREEMPTED
    assert stub.artifacts[CHECKPOINT] != first


@pytest.mark.usefixtures("agent")
def test_the_newest_checkpoint_of_a_killed_process_is_handed_in_for_it(
    stub: Stub, tmp_path: Path
) -> None:
    lease = give(stub, "hang-later")
    stub.wait(lambda: len(stub.reports) == 2)
    first = stub.artifacts[CHECKPOINT]
    # The second checkpoint lies in its file alone.
    until_kept(tmp_path)
    os.kill(pid_of_trial(stub), signal.SIGKILL)
    assert stub.outcome(lease).failure is FailureClass.LOST
    assert stub.artifacts[CHECKPOINT] != first


@pytest.mark.usefixtures("agent")
def test_a_cancelled_lease_ends_its_process_without_a_word(stub: Stub) -> None:
    lease = give(stub, "hang")
    pid_of_trial(stub)
    stub.cancelled.add(lease)
    # The slot is free again when it takes the next one.
    assert stub.outcome(give(stub)).outcome is OutcomeKind.COMPLETED
    assert lease not in stub.outcomes
    assert not stub.refused


def test_an_attempt_that_was_followed_is_ended_before_the_next_one_begins(
    stub: Stub, tmp_path: Path
) -> None:
    with running(make_agent(stub, tmp_path, slots=2)):
        first = give(stub, "hang")
        pid = pid_of_trial(stub)
        second = give(stub, attempt=2)
        stub.wait(lambda: len(stub.reports) == 2)
        assert not psutil.pid_exists(pid)
        assert stub.outcome(second).outcome is OutcomeKind.COMPLETED
    assert first not in stub.outcomes


@pytest.mark.usefixtures("agent")
def test_leases_are_renewed_while_their_trials_run(stub: Stub) -> None:
    lease = give(stub, "hang")
    stub.wait(lambda: stub.beats.count([lease]) >= 3)


@pytest.mark.usefixtures("agent")
def test_a_service_that_forgot_the_worker_is_told_again(stub: Stub) -> None:
    stub.wait(lambda: stub.manifests)
    stub.forgotten = True
    stub.wait(lambda: len(stub.manifests) == 2)


def test_a_restarted_service_loses_nothing(tmp_path: Path) -> None:
    stub = Stub()
    with serving(stub):
        agent = make_agent(stub, tmp_path)
        port = int(stub.url.rpartition(":")[2])
        thread = threading.Thread(target=agent.run)
        thread.start()
        stub.wait(lambda: stub.requests)
    lease = give(stub)
    with serving(stub, port):
        assert stub.outcome(lease).outcome is OutcomeKind.COMPLETED
        agent.stop()
        join(thread)
    numbers = [number for _, number in stub.requests]
    assert sorted(set(numbers)) == list(range(max(numbers) + 1))


@pytest.mark.usefixtures("agent")
def test_a_released_trial_goes_on_where_it_stopped(stub: Stub) -> None:
    stub.verdicts = {1: Verdict.RELEASE}
    assert stub.outcome(give(stub)).outcome is OutcomeKind.RELEASED
    stub.verdicts = {}
    lease = give(stub, attempt=2, checkpoint=stub.checkpoint(CHECKPOINT))
    assert stub.outcome(lease).outcome is OutcomeKind.COMPLETED
    assert [report.step for report in stub.reports] == [1, 2]


@pytest.mark.parametrize("status", [401, 403, 426])
def test_a_worker_that_is_not_welcome_ends_and_says_why(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    refusal: Callable[..., Any] = lambda *_: (status, b'{"detail": "because"}')  # noqa: E731
    monkeypatch.setattr(stub, "answer", refusal)
    with pytest.raises(NotWelcome, match=f"{status}: because"):
        make_agent(stub, tmp_path).run()
