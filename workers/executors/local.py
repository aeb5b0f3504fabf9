"""Trials as processes of this machine, from a forkserver that has torch loaded.

Such a process starts in hundredths of a second instead of the seconds that torch takes to load.
"""

import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

from workers.environment import DATA_ROOT, GPU_SHARE, LEASE_FILE
from workers.errors import NoDiskSpace, NoGpuMemory
from workers.executors.base import ProcessSpec
from workers.executors.child import run_child
from workers.executors.gpus import FOR_TRIALS, Gpu, RunCommand, free_now, run
from workers.executors.local_process import LocalProcess
from workers.tasks.base import CommandTask, Place

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
    "workers.executors.child",
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


_GIB = 2**30
# A driver frees the memory of a process a little after its end.
_GPU_PATIENCE = 10.0
_GPU_POLL_SECONDS = 0.5


class LocalExecutor:
    """Implements `Executor`.

    Args:
        gpus: Slot i uses number i modulo their count. Slots that share one divide its memory.
        run: Runs the command that says how much memory of a GPU is free.
        gpu_patience: Seconds to wait until a trial's share of a GPU's memory is free.
    """

    def __init__(
        self,
        place: Place,
        *,
        slots: int,
        gpus: Sequence[Gpu],
        run: RunCommand = run,
        gpu_patience: float = _GPU_PATIENCE,
    ) -> None:
        self._place = place
        self._slots = slots
        self._gpus = gpus
        self._run = run
        self._gpu_patience = gpu_patience
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        # `multiprocessing` polls all children whenever it starts one. An exit code can be read
        # once: of two threads that poll at the same time, one would lose it.
        self._lock = threading.Lock()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def devices(self) -> list[str]:
        return [gpu.name for gpu in self._gpus] or [f"cpu, {os.cpu_count()} cores"]

    def start(self, spec: ProcessSpec, *, slot: int) -> LocalProcess:
        """Start a process.

        Raises:
            NoDiskSpace: If the disk of the worker's home is too full.
            NoGpuMemory: If another program uses the memory of its GPU.
        """
        self._check_disk()
        self._check_gpus(spec, slot)
        arguments = (spec, self._place, self._environment(spec, slot))
        try:
            process = self._fork(arguments)
        except EOFError:
            # The forkserver was killed. `multiprocessing` starts a new one at the next request.
            process = self._fork(arguments)
        return LocalProcess(
            process, self._lock, spec.lease_file, memory_bytes=self._place.memory_bytes
        )

    def _fork(self, arguments: tuple[Any, ...]) -> ForkServerProcess:
        process = self._context.Process(target=run_child, args=arguments)
        with self._lock:
            process.start()
        return process

    def _check_disk(self) -> None:
        free, wanted = shutil.disk_usage(self._place.home).free, self._place.min_free_bytes
        if free < wanted:
            reason = f"{free / _GIB:.2f} GiB are free, less than the {wanted / _GIB:g} GiB of"
            raise NoDiskSpace(self._place.home, f"{reason} --min-free-disk")

    def _check_gpus(self, spec: ProcessSpec, slot: int) -> None:
        """Wait until half of the trial's share of its GPUs is free."""
        for gpu in (self._gpus[number] for number in self._gpu_numbers(spec, slot)):
            # Half, since the share is an upper limit, and a trial that ended a moment ago may
            # still hold a part of it.
            wanted = self._share(gpu, spec) * gpu.total_bytes / 2
            end = time.monotonic() + self._gpu_patience
            while (free := free_now(gpu, self._run)) is not None and free < wanted:
                if time.monotonic() >= end:
                    raise NoGpuMemory(gpu.name, free / _GIB, wanted / _GIB)
                time.sleep(_GPU_POLL_SECONDS)
            if free is None:
                logger.warning("%s: nvidia-smi does not say how much of it is free", gpu.name)

    def _gpu_numbers(self, spec: ProcessSpec, slot: int) -> list[int]:
        if not self._gpus:
            return []
        devices = _devices(spec)
        return [(slot * devices + i) % len(self._gpus) for i in range(devices)]

    def _share(self, gpu: Gpu, spec: ProcessSpec) -> float:
        """Return the fraction of a GPU's memory that a trial may use."""
        sharing = math.ceil(self._slots * _devices(spec) / len(self._gpus))
        return FOR_TRIALS * gpu.free_bytes / gpu.total_bytes / sharing

    def _environment(self, spec: ProcessSpec, slot: int) -> dict[str, str]:
        environment = {
            LEASE_FILE: str(spec.lease_file),
            DATA_ROOT: str(self._place.data_root),
            "OMP_NUM_THREADS": str(max(1, self._place.threads // _devices(spec))),
        }
        if self._place.gpu_share is not None:
            environment[GPU_SHARE] = f"{self._place.gpu_share:.4f}"
        if numbers := self._gpu_numbers(spec, slot):
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(_visible_gpu, numbers))
            share = min(self._share(self._gpus[number], spec) for number in numbers)
            environment[GPU_SHARE] = f"{share:.4f}"
        elif "CUDA_VISIBLE_DEVICES" in os.environ:
            # On a node of Ray. Ray sets the variable anew for each trial, in this process; the
            # forkserver still has the value of the first trial, and passes it on.
            environment["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
        return environment


def _devices(spec: ProcessSpec) -> int:
    return spec.task.devices if isinstance(spec.task, CommandTask) else 1


def _visible_gpu(index: int) -> str:
    # torch numbers the GPUs among those that the worker itself may see.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)
