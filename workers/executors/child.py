"""What runs in the process of a trial on this machine: a function, or a user's command."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from workers.environment import TOKEN
from workers.executors.base import ProcessSpec
from workers.executors.processes import end_all
from workers.tasks.base import CommandTask, FunctionTask, Place
from workers.tasks.loading import target_of

_TORCHRUN = Path(__file__).with_name("torchrun.py")


def run_child(spec: ProcessSpec, place: Place, environment: dict[str, str]) -> None:
    """Run a trial in this process, which the forkserver has just forked."""
    # A session of its own, so that a signal to its group reaches this trial only.
    os.setsid()
    threading.Thread(target=_end_with_agent, args=(spec.lease_file,), daemon=True).start()
    # A trial has the token of its attempt; user code must not get that of its worker.
    os.environ.pop(TOKEN, None)
    os.environ.update(environment)
    _redirect_output(spec.log)
    match spec.task:
        case FunctionTask():
            _run_function(spec.task, spec.settings, place)
        case CommandTask():
            _run_command(spec.task)


def _end_with_agent(lease_file: Path) -> None:
    """End this process and everything it started when the agent ends, however that happens."""
    agent = parent_process()
    assert agent is not None
    # A pipe that only the agent holds open: it closes even when the agent is killed.
    connection.wait([agent.sentinel])
    # This process must be the last one: a killed process kills no others.
    end_all(os.getpid(), lease_file, spared=os.getpid())
    os.killpg(0, signal.SIGKILL)


def _redirect_output(log: os.PathLike[str]) -> None:
    # The descriptors, not `sys.stdout`: libraries in C and child processes print, too.
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _run_function(task: FunctionTask, settings: dict[str, Any], place: Place) -> None:
    import torch

    from workers.trial import trial

    # torch was loaded in the forkserver, before OMP_NUM_THREADS was set for this trial.
    torch.set_num_threads(place.threads)
    with trial() as handle:
        target_of(task)(handle, settings, place)


def _run_command(task: CommandTask) -> None:
    """Run the command as a child, and end as it ends."""
    # A handler, not SIG_IGN, which the command would inherit: this process has to outlive the
    # command, to pass on its exit code.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    try:
        environment = os.environ | task.environment
        code = subprocess.call(_command(task), cwd=task.directory, env=environment)
    except OSError as error:
        sys.exit(f"{task.command[0]}: {error}")
    if code < 0:
        # Ended by a signal: end by the same one, so that the agent sees it.
        if -code in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _command(task: CommandTask) -> Sequence[str]:
    """Return the command, started by torchrun if it has several processes."""
    if task.devices == 1:
        return task.command
    # The launcher runs in our own Python: the command may be of another environment. `-P` keeps
    # files beside it, or beside the command, from being imported in place of a library.
    launcher = [sys.executable, "-P", str(_TORCHRUN), "--standalone", "--no-python"]
    return [*launcher, "--nproc-per-node", str(task.devices), *task.command]
