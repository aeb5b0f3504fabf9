"""A test run that is killed leaves no process behind, and one that ends touches none."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.support.leftovers import tagged

RUN = """
import os, subprocess, sys, time
from tests.support.leftovers import TAG, ended_with_the_run
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
with ended_with_the_run():
    process = subprocess.Popen(sleep, stdout=subprocess.DEVNULL, start_new_session=True)
    print(process.pid, os.environ[TAG], flush=True)
    sys.stdin.readline()
"""


def started() -> tuple[subprocess.Popen[str], int, str]:
    """Start a run that has detached a process; return it, the id of that process and the tag."""
    command, pipe = [sys.executable, "-c", RUN], subprocess.PIPE
    run = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert run.stdout is not None
    pid, tag = run.stdout.readline().split()
    return run, int(pid), tag


def until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.05)


def test_a_killed_run_takes_what_it_has_detached_along() -> None:
    run, pid, tag = started()
    until(lambda: tagged(tag) == [pid])
    run.kill()
    run.communicate()
    until(lambda: tagged(tag) == [])


def test_a_run_that_ends_by_itself_ends_nothing() -> None:
    run, pid, tag = started()
    try:
        until(lambda: tagged(tag) == [pid])
        run.communicate("go on\n")
        assert run.returncode == 0
        assert tagged(tag) == [pid]
    finally:
        os.kill(pid, signal.SIGKILL)
