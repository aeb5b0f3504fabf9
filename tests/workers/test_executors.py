"""What every executor must do."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search_space.contract import FailureClass, TaskOffer
from tests.support.ray_cluster import ray_cluster
from workers.executors.base import Executor, ProcessSpec, TrialProcess, TrialResources
from workers.executors.gpus import Gpu
from workers.executors.local import LocalExecutor
from workers.tasks.base import CommandTask, FunctionTask, Place

OFFER = TaskOffer(name="t", settings={}, metrics={})

MEMORY_BYTES = 400 * 2**20

# Starts a process and returns it; killed at the end of the test at the latest.
Start = Callable[..., TrialProcess]


@pytest.fixture(scope="module")
def joined() -> Iterator[None]:
    """A Ray cluster with room for four trials on two nodes, which this process has joined."""
    with ray_cluster() as cluster:
        import ray

        from workers.executors.ray import connect

        for _ in range(2):
            cluster.add(cpus=2, gpus=1)
        connect(cluster.address, url="http://127.0.0.1")
        yield
        ray.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    place = Place(tmp_path, tmp_path, threads=1, memory_bytes=MEMORY_BYTES, gpu_share=0.45)
    if request.param == "local":
        return LocalExecutor(place, slots=2, gpus=[])
    request.getfixturevalue("joined")
    from workers.executors.ray import RayExecutor

    return RayExecutor(place, slots=2, resources=TrialResources(cpus=1, gpus=0.5))


@pytest.fixture
def start(executor: Executor, tmp_path: Path) -> Iterator[Start]:
    started: list[TrialProcess] = []

    def start(code: str, **settings: Any) -> TrialProcess:
        task = CommandTask(OFFER, (sys.executable, "-c", code), tmp_path, {"MINE": "1"})
        spec = ProcessSpec(task, settings, lease_file(tmp_path, len(started)), tmp_path / "log")
        started.append(executor.start(spec, slot=0))
        return started[-1]

    yield start
    for running in started:
        running.kill()
        running.wait(10)


def lease_file(folder: Path, number: int = 0) -> Path:
    path = folder / f"lease-{number}.json"
    path.write_text("{}")
    return path


def say_and_wait(fifo: Path, what: str = "os.getpid()") -> str:
    """Return a script that writes `what` into a pipe and then waits for ever."""
    return f"import os, signal; print({what}, file=open({str(fifo)!r}, 'w')); signal.pause()"


def parent_of(code: str, *, apart: bool) -> str:
    """Return a script that runs another one as a child, in a session of its own where `apart`."""
    child = f"[sys.executable, '-c', {code!r}], start_new_session={apart}"
    return f"import subprocess, sys; subprocess.run({child})"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def gone(pid: int, timeout: float = 10) -> bool:
    """Wait for the end of a process that is no child of ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready, _, _ = select.select([handle], [], [], timeout)
    os.close(handle)
    return bool(ready)


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_the_process_s(start: Start, code: int) -> None:
    running = start(f"raise SystemExit({code})")
    assert running.wait(30) == code
    assert running.poll() == code


def test_a_running_process_has_no_exit_code(start: Start, fifo: Path) -> None:
    running = start(say_and_wait(fifo))
    fifo.read_text()
    assert running.poll() is None
    assert running.wait(0.01) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_told_as_a_signal(start: Start, number: signal.Signals) -> None:
    running = start(f"import os; os.kill(os.getpid(), {int(number)})")
    assert running.wait(30) == -number


def test_a_process_can_be_asked_to_end(start: Start, fifo: Path) -> None:
    running = start(say_and_wait(fifo))
    fifo.read_text()
    running.terminate()
    assert running.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize("apart", [False, True])
def test_killing_ends_the_children_too(start: Start, fifo: Path, apart: bool) -> None:
    running = start(parent_of(say_and_wait(fifo), apart=apart))
    pid = int(fifo.read_text())
    running.kill()
    assert running.wait(30) == -signal.SIGKILL
    assert gone(pid)


@pytest.mark.parametrize("apart", [False, True])
def test_children_do_not_outlive_their_process(start: Start, fifo: Path, apart: bool) -> None:
    inner = say_and_wait(fifo).replace("signal.pause()", "print(flush=True); signal.pause()")
    running = start(
        "import os, subprocess, sys; pipe = subprocess.PIPE; "
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=pipe, "
        f"start_new_session={apart}); "
        # Not before the child has spoken: it would be ended too early to say who it is.
        "child.stdout.readline(); os._exit(0)"
    )
    pid = int(fifo.read_text())
    assert running.wait(30) == 0
    assert gone(pid)


def test_the_memory_of_children_counts_whatever_session_they_are_in(
    start: Start, fifo: Path
) -> None:
    hog = say_and_wait(fifo).replace("signal.pause", "hog = b'x' * (600 * 2**20); signal.pause")
    running = start(parent_of(hog, apart=True))
    pid = int(fifo.read_text())
    assert running.wait(30) == -signal.SIGKILL
    assert running.cause is not None
    assert running.cause.failure is FailureClass.OUT_OF_MEMORY
    assert gone(pid)


def test_a_command_finds_its_environment(start: Start, fifo: Path, tmp_path: Path) -> None:
    of_the_place = ("ACTSEARCH_DATA_ROOT", "OMP_NUM_THREADS", "ACTSEARCH_GPU_SHARE")
    names = ("ACTSEARCH_LEASE_FILE", *of_the_place, "MINE")
    start(say_and_wait(fifo, f"__import__('json').dumps([os.environ[n] for n in {names}])"))
    lease, *others = json.loads(fifo.read_text())
    assert Path(lease).read_text() == "{}"
    assert others == [str(tmp_path), "1", "0.4500", "1"]


def test_output_goes_to_the_log(start: Start, tmp_path: Path) -> None:
    start("import sys; print('out'); print('err', file=sys.stderr)").wait(30)
    assert set((tmp_path / "log").read_text().split()) == {"out", "err"}


def test_a_command_that_does_not_exist_ends_with_a_sentence(
    executor: Executor, tmp_path: Path
) -> None:
    task = CommandTask(OFFER, ("no-such-command",), tmp_path)
    spec = ProcessSpec(task, {}, lease_file(tmp_path), tmp_path / "log")
    assert executor.start(spec, slot=0).wait(30) == 1
    assert "no-such-command" in (tmp_path / "log").read_text()


def test_many_processes_at_once_keep_their_own_codes(start: Start) -> None:
    started = [start(f"raise SystemExit({code})") for code in range(8)]
    assert [running.wait(60) for running in started] == list(range(8))


def test_every_slot_has_its_own_gpu(
    fifo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = [Gpu(name, name, total_bytes=8, free_bytes=8) for name in ("a", "b")]
    place = Place(tmp_path, tmp_path, threads=1)
    executor = LocalExecutor(place, slots=3, gpus=gpus, run=lambda _: "8")
    code = f"import os; print(os.environ['CUDA_VISIBLE_DEVICES'], file=open({str(fifo)!r}, 'w'))"
    task = CommandTask(OFFER, (sys.executable, "-c", code), tmp_path)
    spec = ProcessSpec(task, {}, tmp_path / "lease.json", tmp_path / "log")
    seen = []
    for slot in range(3):
        running = executor.start(spec, slot=slot)
        seen.append(fifo.read_text().strip())
        running.wait(30)
    assert seen == ["0", "1", "0"]
    assert executor.devices == ["a", "b"]


AGENT = """
import sys
from pathlib import Path
from tests.workers.test_executors import OFFER
from workers.executors.base import ProcessSpec
from workers.executors.local import LocalExecutor
from workers.tasks.base import CommandTask, Place

if __name__ == "__main__":
    home = Path(sys.argv[1])
    task = CommandTask(OFFER, (sys.executable, "-c", sys.argv[2]), home)
    executor = LocalExecutor(Place(home, home, threads=1), slots=1, gpus=[])
    executor.start(ProcessSpec(task, {}, home / "lease.json", home / "log"), slot=0).wait()
"""


@pytest.mark.parametrize("apart", [False, True])
def test_a_process_and_its_children_die_with_its_agent(
    fifo: Path, tmp_path: Path, apart: bool
) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), parent_of(say_and_wait(fifo), apart=apart)],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    pid = int(fifo.read_text())
    agent.kill()
    agent.wait()
    assert gone(pid)


def test_a_function_has_its_share_of_threads_and_dies_of_its_own_error(
    executor: Executor, tmp_path: Path
) -> None:
    task = FunctionTask(OFFER, "tests.workers.targets:nothing")
    spec = ProcessSpec(task, {}, lease_file(tmp_path), tmp_path / "log")
    assert executor.start(spec, slot=0).wait(60) == 1
    assert "ValidationError" in (tmp_path / "log").read_text()
