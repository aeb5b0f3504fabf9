"""One process at a time on a device, among all slots and workers of a user on a machine."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """Hold the device's lock, waiting for it. The system frees that of a process that dies."""
    folder = Path(tempfile.gettempdir()) / f"actsearch-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{_key(device)}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(device: torch.device) -> str:
    """Return a name that is the same in processes that number their devices differently."""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return device.type
