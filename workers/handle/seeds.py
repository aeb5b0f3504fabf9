"""Everything random in a trial, from the trial's one seed."""

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
    """Let torch use only what repeats bit for bit, and fail where it has nothing of the kind.

    Before the first use of a GPU: its library of matrix products reads the environment once.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
