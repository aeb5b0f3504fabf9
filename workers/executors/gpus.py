"""The GPUs of this machine, and their free memory. Loads no torch."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Runs in a process of its own: torch would stay in the agent's memory for good. nvidia-smi cannot
# answer this: only torch knows which GPUs it can use, and how it numbers them.
_FIND = """
import torch
for index in range(torch.cuda.device_count()):
    about, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    print(about.name, about.uuid, total, free, sep="\\t")
"""
_MIB = 2**20

FOR_TRIALS = 0.9
"""Part of a GPU's free memory that trials get; the driver needs the rest for each process."""

RunCommand = Callable[[Sequence[str]], str | None]
"""Runs a command, and returns its output; None if it fails."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as it was when the worker started."""

    name: str
    uuid: str
    total_bytes: int
    free_bytes: int


def find_gpus() -> list[Gpu]:
    """Return the GPUs that torch can use, in torch's order."""
    if shutil.which("nvidia-smi") is None:
        return []
    lines = (run([sys.executable, "-c", _FIND]) or "").splitlines()
    return [
        Gpu(name, uuid, int(total), int(free))
        for name, uuid, total, free in (line.split("\t") for line in lines)
    ]


def free_now(gpu: Gpu, run: RunCommand) -> int | None:
    """Return the free bytes of a GPU at this moment; None if its driver does not say."""
    wanted = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    answer = (run(["nvidia-smi", f"--id=GPU-{gpu.uuid}", *wanted]) or "").strip()
    return int(answer) * _MIB if answer.isdecimal() else None


def run(command: Sequence[str]) -> str | None:
    """Implements `RunCommand`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
