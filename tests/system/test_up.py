"""`actsearch up`: the service and its worker live and die together."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from service.client.client import Client

SECONDS = 60


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "up", "--json", "--port", "0", "--slots", "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def worker(up: subprocess.Popen[str]) -> Iterator[psutil.Process]:
    """The worker of `up`, once the service knows it."""
    assert up.stdout is not None
    url = json.loads(up.stdout.readline())["url"]
    with Client(url) as client:
        while not client.workers():
            assert up.poll() is None
    (worker,) = psutil.Process(up.pid).children()
    yield worker
    psutil.wait_procs([worker], timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_cleanly(
    up: subprocess.Popen[str], worker: psutil.Process, number: signal.Signals
) -> None:
    up.send_signal(number)
    _, err = up.communicate(timeout=SECONDS)
    assert up.returncode == 0
    assert not worker.is_running()
    assert "Traceback" not in err
    assert "ERROR" not in err


def test_a_killed_service_takes_its_worker_along(
    up: subprocess.Popen[str], worker: psutil.Process
) -> None:
    family = [worker, *worker.children(recursive=True)]
    up.kill()
    _, alive = psutil.wait_procs(family, timeout=SECONDS)
    assert alive == []


@pytest.mark.parametrize("end", [psutil.Process.kill, psutil.Process.terminate])
def test_a_worker_that_ends_by_itself_ends_the_service(
    up: subprocess.Popen[str], worker: psutil.Process, end: Callable[[psutil.Process], None]
) -> None:
    end(worker)
    _, err = up.communicate(timeout=SECONDS)
    assert up.returncode == 1
    assert "the worker ended by itself with exit code" in err
    assert "Traceback" not in err
