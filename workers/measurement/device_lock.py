"""A lock for each device, among all slots and workers of one user on a machine."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """Wait for the device's lock, and hold it."""
    # Locks of `flock` end with their process, so a killed trial blocks no other one.
    folder = Path(tempfile.gettempdir()) / f"actsearch-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{_key(device)}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(device: torch.device) -> str:
    # Not by number: processes with different CUDA_VISIBLE_DEVICES number GPUs differently.
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return device.type
