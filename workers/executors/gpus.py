"""The GPUs of this machine, and what of their memory is free. Loads no torch."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Asked in a process of its own: loading torch here would cost the agent memory for good. Only
# torch knows which GPUs it can use and how it numbers them.
_FIND = """
import torch
for index in range(torch.cuda.device_count()):
    about, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    print(about.name, about.uuid, total, free, sep="\\t")
"""
_MIB = 2**20

FOR_TRIALS = 0.9
"""Of what is free on a GPU; the rest is for what the driver keeps per process."""

Run = Callable[[Sequence[str]], str | None]
"""Runs a command, and returns what it prints; None if it fails."""


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


def free_now(gpu: Gpu, run: Run) -> int | None:
    """Return the bytes that are free on a GPU now; None where its driver does not tell."""
    wanted = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    answer = (run(["nvidia-smi", f"--id=GPU-{gpu.uuid}", *wanted]) or "").strip()
    return int(answer) * _MIB if answer.isdecimal() else None


def run(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
