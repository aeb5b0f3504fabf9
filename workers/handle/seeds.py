"""Seeds: all random numbers of a trial follow from its one seed."""

import hashlib
import os
import random

import numpy as np
import torch


def derive(seed: int, *parts: int | str) -> int:
    """Return a seed of 32 bits that depends on all of its arguments."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def seed_everything(seed: int, *parts: int | str) -> None:
    """Seed torch (on every device), numpy and random."""
    derived = derive(seed, *parts)
    random.seed(derived)
    np.random.seed(derived)
    torch.manual_seed(derived)


def make_deterministic() -> None:
    """Let torch use deterministic algorithms only, and fail where there are none.

    To be called before the first use of a GPU.
    """
    # cuBLAS reads it once, when it is loaded.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
