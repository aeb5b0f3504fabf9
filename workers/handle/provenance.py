"""What a trial ran on, stored beside its results: with it, the trial can be trained again."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from search_space.contract import Assignment, Message

_PACKAGES = ("activation-search", "torch", "numpy", "numba", "triton", "timm", "torchvision")
_VERSION = 1


class Run(Message):
    """The document of one attempt.

    Attributes:
        assignment: Without the token.
        environment: See `environment`.
        resumed_at: Epochs that an earlier attempt had trained, in an environment of its own.
    """

    version: int = _VERSION
    assignment: Assignment
    environment: dict[str, Any]
    resumed_at: int


def record(assignment: Assignment, *, code: str | None, resumed_at: int) -> bytes:
    """Return the document of an attempt as JSON; `code` tells the code of its task."""
    plain = assignment.model_copy(
        update={"token": "", "checkpoint": None, "measured": [], "export": False}
    )
    run = Run(assignment=plain, environment=environment(code), resumed_at=resumed_at)
    return run.model_dump_json(indent=2).encode()


def environment(code: str | None) -> dict[str, Any]:
    """Return what the bits of a training may depend on."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES if _version(name) is not None},
        "machine": platform.platform(),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "code": code,
        "commit": _commit(Path(__file__).parent),
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words what differs between two environments."""
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


def _processor() -> str:
    """Return the model of the processor: Linux alone tells it, in a file."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def _commit(folder: Path) -> str | None:
    """Return the commit that a folder is checked out at, with a plus where it was changed."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip() or None
