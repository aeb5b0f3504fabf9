"""Trials as processes of this machine.

Every process comes from a forkserver that has torch loaded, so it starts in hundredths of a
second, and ends with its agent: it watches the agent's life through a pipe. A user's command
gets such a process as its guard. What a trial has started ends with it.
"""

import contextlib
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from search_space.contract import FailureClass, Outcome
from workers.attempt.exit_outcomes import failed, was_killed
from workers.environment import DATA_ROOT, GPU_SHARE, LEASE_FILE, TOKEN
from workers.errors import NoDiskSpace, NoGpuMemory
from workers.executors.base import Order
from workers.executors.gpus import FOR_TRIALS, Gpu, Run, free_now, run
from workers.executors.memory import kills_for_want_of_memory, used_by
from workers.executors.processes import end_all, processes_of
from workers.tasks.base import CommandTask, FunctionTask, Place
from workers.tasks.loading import target_of

logger = logging.getLogger(__name__)

_PRELOADED = [
    "numpy",
    "torch",
    # Every optimizer imports it at its first step, which takes a second.
    "torch._dynamo",
    "httpx2",
    "safetensors.torch",
    "search_space.sites",
    "search_space.apply",
    "search_space.activations.acon",
    "search_space.activations.fixed",
    "search_space.activations.pwlu",
    "workers.data.tensors",
    "workers.executors.warm",
    "workers.handle.served",
    "workers.handle.distributed",
    "workers.networks.cifar_resnet",
    "workers.networks.cnn_1d",
    "workers.networks.mlp_1d",
    "workers.networks.small_cnn",
    "workers.tasks.image_classification",
    "workers.tasks.sequence_classification",
    "workers.training.loop",
    "workers.trial",
]


_TORCHRUN = Path(__file__).with_name("torchrun.py")
_GIB = 2**30
_LOOK_SECONDS = 1.0
# A driver frees the memory of a process that has ended a little later.
_GPU_PATIENCE = 10.0
_GPU_LOOK_SECONDS = 0.5
# What `multiprocessing` says for the exit code where the forkserver, which would know, is gone.
_NOT_KNOWN = 255
_NO_FORKSERVER = "the process was ended, as the one that had started it was killed"
_NO_MEMORY = "the machine ran out of memory, and the kernel killed the trial"


class LocalExecutor:
    """Implements `Executor`.

    Args:
        gpus: Slot i uses number i modulo their count. Slots that share one divide its memory.
        run: Runs a command, as that which tells how much memory is free on a GPU.
        gpu_patience: Seconds to wait for a trial's share of it.
    """

    def __init__(
        self,
        place: Place,
        *,
        slots: int,
        gpus: Sequence[Gpu],
        run: Run = run,
        gpu_patience: float = _GPU_PATIENCE,
    ) -> None:
        self._place = place
        self._slots = slots
        self._gpus = gpus
        self._run = run
        self._gpu_patience = gpu_patience
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        # Starting a process also polls all others, and of two polls at once one loses the code.
        self._lock = threading.Lock()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def devices(self) -> list[str]:
        return [gpu.name for gpu in self._gpus] or [f"cpu, {os.cpu_count()} cores"]

    def start(self, order: Order, *, slot: int) -> "LocalRunning":
        self._check_disk()
        self._check_gpus(order, slot)
        arguments = (order, self._place, self._environment(order, slot))
        try:
            process = self._start(arguments)
        except EOFError:
            # The forkserver was killed; asked again, there is a new one.
            process = self._start(arguments)
        return LocalRunning(
            process, self._lock, order.lease_file, memory_bytes=self._place.memory_bytes
        )

    def _start(self, arguments: tuple[Any, ...]) -> ForkServerProcess:
        process = self._context.Process(target=_main, args=arguments)
        with self._lock:
            process.start()
        return process

    def _check_disk(self) -> None:
        free, wanted = shutil.disk_usage(self._place.home).free, self._place.min_free_bytes
        if free < wanted:
            reason = f"{free / _GIB:.2f} GiB are free, less than the {wanted / _GIB:g} GiB of"
            raise NoDiskSpace(self._place.home, f"{reason} --min-free-disk")

    def _check_gpus(self, order: Order, slot: int) -> None:
        """Wait until half of the trial's share is free; what else holds it is not ours."""
        for gpu in (self._gpus[number] for number in self._gpu_numbers(order, slot)):
            wanted = self._share(gpu, order) * gpu.total_bytes / 2
            end = time.monotonic() + self._gpu_patience
            while (free := free_now(gpu, self._run)) is not None and free < wanted:
                if time.monotonic() >= end:
                    raise NoGpuMemory(gpu.name, free / _GIB, wanted / _GIB)
                time.sleep(_GPU_LOOK_SECONDS)
            if free is None:
                logger.warning("%s: nvidia-smi does not tell what is free on it", gpu.name)

    def _gpu_numbers(self, order: Order, slot: int) -> list[int]:
        if not self._gpus:
            return []
        devices = _devices(order)
        return [(slot * devices + i) % len(self._gpus) for i in range(devices)]

    def _share(self, gpu: Gpu, order: Order) -> float:
        """Return what part of a GPU's memory a trial may use."""
        sharing = math.ceil(self._slots * _devices(order) / len(self._gpus))
        return FOR_TRIALS * gpu.free_bytes / gpu.total_bytes / sharing

    def _environment(self, order: Order, slot: int) -> dict[str, str]:
        environment = {
            LEASE_FILE: str(order.lease_file),
            DATA_ROOT: str(self._place.data_root),
            "OMP_NUM_THREADS": str(max(1, self._place.threads // _devices(order))),
        }
        if self._place.gpu_share is not None:
            environment[GPU_SHARE] = f"{self._place.gpu_share:.4f}"
        if numbers := self._gpu_numbers(order, slot):
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(_visible_gpu, numbers))
            share = min(self._share(self._gpus[number], order) for number in numbers)
            environment[GPU_SHARE] = f"{share:.4f}"
        elif "CUDA_VISIBLE_DEVICES" in os.environ:
            # Ray's choice changes from trial to trial, and the forkserver knows its first alone.
            environment["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
        return environment


class LocalRunning:
    """Implements `Running` for one process and whatever it started."""

    is_placed = True
    # The agent lives on the same machine.
    is_place_gone = False

    def __init__(
        self,
        process: ForkServerProcess,
        lock: threading.Lock,
        lease_file: Path,
        *,
        memory_bytes: int | None,
    ) -> None:
        self._process = process
        self._lock = lock
        self._lease_file = lease_file
        self._memory_bytes = memory_bytes
        self._killed_before = kills_for_want_of_memory()
        self._cause: Outcome | None = None

    @property
    def cause(self) -> Outcome | None:
        return self._cause

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not connection.wait([self._process.sentinel], self._until_look(end)):
            self._check_memory()
            if time.monotonic() >= end:
                break
        code = self.poll()
        if code is not None:
            if code == _NOT_KNOWN and self._is_there():
                self._cause = self._cause or failed(FailureClass.LOST, _NO_FORKSERVER)
            # Children that outlive a trial would hold its memory and its device.
            end_all(self.pid, self._lease_file)
            if was_killed(code) and kills_for_want_of_memory() > self._killed_before:
                self._cause = self._cause or failed(FailureClass.OUT_OF_MEMORY, _NO_MEMORY)
        return code

    def _is_there(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _until_look(self, end: float) -> float:
        return max(0.0, min(_LOOK_SECONDS, end - time.monotonic()))

    def _check_memory(self) -> None:
        """End a trial that uses more than its share, before the kernel chooses whom to kill."""
        if self._memory_bytes is None or self._cause is not None:
            return
        used = used_by(processes_of(self.pid, self._lease_file))
        if used > self._memory_bytes:
            share = f"{self._memory_bytes / _GIB:.2f} GiB of --memory-per-trial"
            message = f"the trial used {used / _GIB:.2f} GiB of memory, more than the {share}"
            self._cause = failed(FailureClass.OUT_OF_MEMORY, message)
            self.kill()

    def terminate(self) -> None:
        if self.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                # It is gone, or so young that it leads no group yet.
                self._signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            end_all(self.pid, self._lease_file)
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)


def _devices(order: Order) -> int:
    return order.task.devices if isinstance(order.task, CommandTask) else 1


def _visible_gpu(index: int) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)


def _main(order: Order, place: Place, environment: dict[str, str]) -> None:
    """Run in the trial's process."""
    os.setsid()
    threading.Thread(target=_die_with_agent, args=(order.lease_file,), daemon=True).start()
    # A trial has its attempt's token, and no business with that of its worker.
    os.environ.pop(TOKEN, None)
    os.environ.update(environment)
    _write_output_to(order.log)
    match order.task:
        case FunctionTask():
            _call(order.task, order.settings, place)
        case CommandTask():
            _guard(order.task)


def _die_with_agent(lease_file: Path) -> None:
    agent = parent_process()
    assert agent is not None
    connection.wait([agent.sentinel])
    end_all(os.getpid(), lease_file, spared=os.getpid())
    os.killpg(0, signal.SIGKILL)


def _write_output_to(log: os.PathLike[str]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _call(task: FunctionTask, settings: dict[str, Any], place: Place) -> None:
    import torch

    from workers.trial import trial

    torch.set_num_threads(place.threads)
    with trial() as handle:
        target_of(task)(handle, settings, place)


def _command(task: CommandTask) -> Sequence[str]:
    """Return the command, started by torchrun where it has several processes.

    The launcher is our own Python's: the command may be that of another environment. Its path is
    safe (`-P`), so that no file beside it or beside the command is taken for a library.
    """
    if task.devices == 1:
        return task.command
    launcher = [sys.executable, "-P", str(_TORCHRUN), "--standalone", "--no-python"]
    return [*launcher, "--nproc-per-node", str(task.devices), *task.command]


def _guard(task: CommandTask) -> None:
    """Run the command and end as it ends."""
    # A handler, not SIG_IGN, which the command would inherit: the guard outlives its command.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    try:
        environment = os.environ | task.environment
        code = subprocess.call(_command(task), cwd=task.directory, env=environment)
    except OSError as error:
        sys.exit(f"{task.command[0]}: {error}")
    if code < 0:
        if -code in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
