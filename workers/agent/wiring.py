"""Builds the agent from the options of the command. Loads no torch: trials are other processes."""

import argparse
import logging
import math
import platform
import re
import sys
import uuid
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from search_space.catalog.lookup import CATALOG
from search_space.contract import WorkerManifest
from workers.agent.agent import Agent, AgentSettings
from workers.agent.deadline import read_time
from workers.agent.machine import machine_resources
from workers.agent.presence import drain_all
from workers.agent.task_code import code_of
from workers.errors import BadSetting
from workers.executors.base import Executor, TrialResources
from workers.executors.gpus import FOR_TRIALS, find_gpus
from workers.executors.local import LocalExecutor
from workers.tasks.base import Place
from workers.tasks.registry import load_tasks

logger = logging.getLogger(__name__)

_TASKS_FILE = Path("tasks.toml")
_MOST_SLOTS = 1024
_LONGEST_NAME = 64


def make_agent(options: argparse.Namespace) -> Agent:
    """Return the agent that the options of `python -m workers` describe.

    Raises:
        WorkerError: If an option or the file of tasks is not valid.
    """
    home = options.home.expanduser().resolve()
    executor = _executor(options, home)
    tasks = load_tasks(_tasks_file(options.tasks), options.load)
    manifest = WorkerManifest(
        boot_id=uuid.uuid4().hex,
        slots=executor.slots,
        devices=executor.devices,
        versions=_versions(),
        tasks=[task.offer.model_copy(update={"code": code_of(task)}) for task in tasks.values()],
        activations=list(CATALOG),
    )
    return Agent(
        options.url,
        options.token,
        worker=_worker_id(options.name),
        manifest=manifest,
        tasks=tasks,
        executor=executor,
        home=home,
        settings=_agent_settings(options),
    )


def drain(options: argparse.Namespace) -> int:
    """Tell the running workers of a home to drain, and return the exit code."""
    home = options.home.expanduser().resolve()
    workers = drain_all(home)
    for worker in workers:
        sys.stdout.write(f"{worker} drains\n")
    if not workers:
        sys.stderr.write(f"no worker runs with --home {home}\n")
    return 0 if workers else 1


def _agent_settings(options: argparse.Namespace) -> AgentSettings:
    return AgentSettings(
        grace=_number("--grace", options.grace),
        checkpoint_seconds=_number("--checkpoint-seconds", options.checkpoint_seconds),
        failures=max(1, int(_number("--failures", options.failures))),
        until=math.inf if options.until is None else read_time(options.until),
        margin=_number("--margin", options.margin),
    )


def _executor(options: argparse.Namespace, home: Path) -> Executor:
    match options.executor:
        case "local":
            return _local(options, home)
        case "ray":
            return _ray(options, home)
    raise BadSetting("--executor", options.executor, "local or ray")


def _local(options: argparse.Namespace, home: Path) -> Executor:
    gpus = find_gpus()
    machine = machine_resources()
    slots = _slots(options.slots, auto=machine.slots(gpus))
    logger.info("%d slots: %s", slots, machine.describe(gpus))
    place = Place(
        home,
        options.data_root.expanduser().resolve(),
        threads=max(1, machine.cores // slots),
        memory_bytes=_memory(options.memory_per_trial, auto=machine.memory_bytes // slots),
        min_free_bytes=int(_number("--min-free-disk", options.min_free_disk) * 2**30),
    )
    return LocalExecutor(place, slots=slots, gpus=gpus)


def _ray(options: argparse.Namespace, home: Path) -> Executor:
    if find_spec("ray") is None:
        wanted = "local, or ray where `pip install 'activation-search[ray]'` was run"
        raise BadSetting("--executor", "ray", wanted)
    # Imported here: Ray is an extra, and its import takes most of a second.
    from workers.executors import ray

    ray.connect(options.address, url=options.url)
    cpus = _amount("--cpus-per-trial", options.cpus_per_trial, auto=1.0)
    gpus = _amount("--gpus-per-trial", options.gpus_per_trial, auto=float(ray.has_gpus()))
    resources = TrialResources(cpus, gpus)
    place = place_on_node(options, home, resources)
    return ray.RayExecutor(
        place, slots=_slots(options.slots, auto=ray.capacity(resources)), resources=resources
    )


def place_on_node(options: argparse.Namespace, home: Path, resources: TrialResources) -> Place:
    """Return the place of a trial on a node of a Ray cluster, from its resources."""
    return Place(
        home,
        options.data_root.expanduser().resolve(),
        threads=max(1, int(resources.cpus)),
        memory_bytes=_memory(options.memory_per_trial, auto=None),
        gpu_share=FOR_TRIALS * resources.gpus if 0 < resources.gpus < 1 else None,
        min_free_bytes=int(_number("--min-free-disk", options.min_free_disk) * 2**30),
    )


def _amount(setting: str, given: str, *, auto: float) -> float:
    """Return an amount of a resource. Ray allows whole numbers, and fractions of one."""
    if given == "auto":
        return auto
    try:
        amount = float(given)
    except ValueError:
        amount = -1.0
    if not math.isfinite(amount) or amount < 0 or (amount > 1 and amount % 1):
        raise BadSetting(setting, given, "auto, a whole number, or a fraction of 1")
    return amount


def _slots(given: str, *, auto: int) -> int:
    if given == "auto":
        return auto
    if not given.isdecimal() or not 1 <= int(given) <= _MOST_SLOTS:
        raise BadSetting("--slots", given, f"auto or a number from 1 to {_MOST_SLOTS}")
    return int(given)


def _memory(given: str, *, auto: int | None) -> int | None:
    match given:
        case "auto":
            return auto
        case "none":
            return None
    return int(_number("--memory-per-trial", given, "a number of GiB, auto or none") * 2**30)


def _number(setting: str, given: str, expected: str = "a number, 0 or more") -> float:
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise BadSetting(setting, given, expected)
    return number


def _versions() -> dict[str, str]:
    packages = ("torch", "activation-search")
    return {"python": platform.python_version()} | {p: _version(p) for p in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # Run from a source tree that was never installed.
        return "unknown"


def _tasks_file(given: Path | None) -> Path | None:
    if given is not None:
        return given
    return _TASKS_FILE if _TASKS_FILE.is_file() else None


def _worker_id(name: str | None) -> str:
    """Return an id with the name of the host. It is random: a restarted worker is a new one."""
    if name is None:
        name = re.sub(r"[^A-Za-z0-9]", "-", platform.node())[:_LONGEST_NAME] or "worker"
    elif not re.fullmatch(rf"[A-Za-z0-9-]{{1,{_LONGEST_NAME}}}", name):
        raise BadSetting("--name", name, f"1 to {_LONGEST_NAME} letters, digits and hyphens")
    return f"{name}-{uuid.uuid4().hex[:8]}"
