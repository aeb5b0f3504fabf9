"""The record of a run: what a trial needs to be trained again, stored with its results."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from search_space.contract import Assignment, Message
from workers.measurement.form import processor_name

_PACKAGES = ("activation-search", "torch", "numpy", "numba", "triton", "timm", "torchvision")
_VERSION = 1


class RunRecord(Message):
    """The record of one attempt.

    Attributes:
        assignment: Without the token.
        environment: See `environment`.
        resumed_at: Number of epochs that an earlier attempt had trained, maybe elsewhere.
    """

    version: int = _VERSION
    assignment: Assignment
    environment: dict[str, Any]
    resumed_at: int


def record(assignment: Assignment, *, code: str | None, resumed_at: int) -> bytes:
    """Return the record of an attempt as JSON; `code` is the digest of its task's code."""
    plain = assignment.model_copy(
        update={"token": "", "checkpoint": None, "measured": [], "export": False}
    )
    run = RunRecord(assignment=plain, environment=environment(code), resumed_at=resumed_at)
    return run.model_dump_json(indent=2).encode()


def environment(code: str | None) -> dict[str, Any]:
    """Return everything that the exact result of a training may depend on."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES if _version(name) is not None},
        "machine": platform.platform(),
        "processor": processor_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "code": code,
        "commit": _commit(Path(__file__).parent),
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a sentence for each difference between two environments."""
    return [
        f"{name}: {then.get(name)} then, {now.get(name)} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """Return the commit of a folder's git tree, with a plus if files were changed."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip() or None
