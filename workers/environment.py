"""The environment variables of workers and of the processes of trials."""

import os
from pathlib import Path

LEASE_FILE = "ACTSEARCH_LEASE_FILE"
DATA_ROOT = "ACTSEARCH_DATA_ROOT"
TOKEN = "ACTSEARCH_TOKEN"
GPU_SHARE = "ACTSEARCH_GPU_SHARE"


_DEFAULTS = {
    "URL": "http://127.0.0.1:8000",
    "EXECUTOR": "local",
    "ADDRESS": "auto",
    "SLOTS": "auto",
    "CPUS_PER_TRIAL": "auto",
    "GPUS_PER_TRIAL": "auto",
    "MEMORY_PER_TRIAL": "auto",
    "MIN_FREE_DISK": "1",
    "CHECKPOINT_SECONDS": "30",
    "FAILURES": "5",
    "GRACE": "15",
    "MARGIN": "60",
    "DATA_ROOT": "data",
    "HOME": str(Path("~") / ".actsearch" / "worker"),
}


def setting(name: str) -> str | None:
    """Return the value of `ACTSEARCH_{name}`; if it is unset or empty, the default."""
    return os.environ.get(f"ACTSEARCH_{name}") or _DEFAULTS.get(name)
