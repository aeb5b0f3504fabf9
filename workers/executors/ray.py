"""Trials as tasks of an existing Ray cluster, which places them, scales, and notices lost nodes."""

import asyncio
import contextlib
import logging
import signal
import threading
import uuid
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search_space.contract import FailureClass, Outcome
from workers.attempt.exit_outcomes import failed
from workers.attempt.outbox import outcome_file_of
from workers.errors import BadSetting, NoDiskSpace
from workers.executors.base import ProcessSpec, TrialResources
from workers.executors.node import NodeMessage, TrialExited, TrialOutput, TrialPlaced, run_on_node
from workers.tasks.base import Place

logger = logging.getLogger(__name__)

_LOOPBACK = ("127.", "localhost", "[::1]")


def connect(address: str, *, url: str) -> None:
    """Join a running cluster. Raises `BadSetting` if it does not answer or cannot reach `url`."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        wanted = f"the address of a running Ray cluster ({str(error).strip().splitlines()[0]})"
        raise BadSetting("--address", address, wanted) from error
    machines = {node["NodeManagerAddress"] for node in _nodes()}
    if len(machines) > 1 and url.split("://")[-1].startswith(_LOOPBACK):
        raise BadSetting("--url", url, "an address that every machine of the cluster can reach")


def capacity(resources: TrialResources) -> int:
    """Return how many trials with such resources fit into the cluster now, at least 1."""
    existing = ray.cluster_resources()
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    fitting = [int(existing.get(name, 0) / amount) for name, amount in wanted.items() if amount]
    return max(1, min(fitting, default=1))


def has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))


class RayExecutor:
    """Implements `Executor` on the cluster that `connect` has joined.

    Trials of more slots than fit wait in the cluster: its autoscaler adds nodes for them.

    Args:
        place: The same folders on every node; `threads` are those of one trial.
        resources: What a trial gets of a node.
    """

    def __init__(self, place: Place, *, slots: int, resources: TrialResources) -> None:
        self._place = place
        self._slots = slots
        # On this node: signals must reach the tasks as long as the agent runs.
        here = ray.get_runtime_context().get_node_id()
        self._relay = (
            ray.remote(SignalRelay)
            .options(
                num_cpus=0,
                max_concurrency=2 * slots + 16,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote()
        )
        self._run = ray.remote(run_on_node).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            num_returns="streaming",
            # The service repeats a lost attempt, under a new lease.
            max_retries=0,
        )

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def devices(self) -> list[str]:
        existing = ray.cluster_resources()
        amounts = f"{existing.get('CPU', 0):g} CPUs, {existing.get('GPU', 0):g} GPUs"
        return [f"ray, {len(_nodes())} nodes: {amounts}"]

    def start(self, spec: ProcessSpec, *, slot: int) -> "RayProcess":  # noqa: ARG002
        lease = spec.lease_file.read_bytes()
        key = uuid.uuid4().hex
        messages = self._run.remote(spec.task, spec.settings, lease, self._place, self._relay, key)
        return RayProcess(messages, spec, self._relay, key)


class RayProcess:
    """Implements `TrialProcess` for one Ray task: a thread receives its messages."""

    def __init__(self, messages: Any, spec: ProcessSpec, relay: Any, key: str) -> None:
        self._messages = messages
        self._spec = spec
        self._relay = relay
        self._key = key
        self._node: str | None = None
        self._code: int | None = None
        self._cause: Outcome | None = None
        self._is_place_gone = False
        self._ended = threading.Event()
        threading.Thread(target=self._receive, name=f"ray-{key[:8]}", daemon=True).start()

    @property
    def is_placed(self) -> bool:
        return self._node is not None

    @property
    def cause(self) -> Outcome | None:
        return self._cause

    @property
    def is_place_gone(self) -> bool:
        return self._is_place_gone

    def poll(self) -> int | None:
        return self._code if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int | None:
        self._ended.wait(timeout)
        return self.poll()

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._ended.is_set():
            return
        self._relay.send.remote(self._key, int(number))
        # A task that waits for a node does not listen to the relay yet.
        if not self.is_placed:
            with contextlib.suppress(RayError):
                ray.cancel(self._messages)

    def _receive(self) -> None:
        # The code if Ray raises before the last message, whatever the error is.
        self._code = -signal.SIGKILL
        try:
            for message in self._messages:
                self._handle(ray.get(message))
        except Exception as error:
            self._cause = _cause_of(error)
            # Not after a `WorkerCrashedError`, where a process died on a node that still runs.
            self._is_place_gone = isinstance(error, NodeDiedError | ObjectLostError)
        finally:
            self._relay.remove.remote(self._key)
            self._ended.set()

    def _handle(self, message: NodeMessage) -> None:
        match message:
            case TrialPlaced(node):
                logger.info("%s runs on node %s", self._spec.lease_file.stem[:8], node)
                self._node = node
            case TrialOutput(output):
                with self._spec.log.open("ab") as log:
                    log.write(output)
            case TrialExited():
                self._code, self._cause = message.code, message.cause
                if message.sent is not None:
                    outcome_file_of(self._spec.lease_file).write_bytes(message.sent)
                if not message.is_unsent:
                    self._spec.lease_file.unlink(missing_ok=True)


class SignalRelay:
    """An actor that passes signals on to tasks. `ray.cancel` would not wait for a clean end."""

    def __init__(self) -> None:
        self._signals: dict[str, int] = {}
        self._changed = asyncio.Condition()

    async def send(self, key: str, number: int) -> None:
        async with self._changed:
            self._signals[key] = number
            self._changed.notify_all()

    async def next_signal(self, key: str, known: int) -> int:
        """Return the newest signal for a task, as soon as it differs from `known`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._signals.get(key, known) != known)
            return self._signals[key]

    async def remove(self, key: str) -> None:
        self._signals.pop(key, None)


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _is_of_node(error: BaseException) -> bool:
    """Whether the node cannot run a trial, because something is missing on it."""
    lacks = isinstance(error, ImportError | OSError | NoDiskSpace)
    # A broken connection is an `OSError`, too, and means that the attempt is lost.
    return lacks and not isinstance(error, ConnectionError)


def _cause_of(error: Exception) -> Outcome:
    """Return the outcome of an attempt whose Ray task failed."""
    origin = error.cause if isinstance(error, RayTaskError) else error
    sentence = f"{type(origin).__name__}: {' '.join(str(origin).split())[:2000]}"
    match error:
        case TaskCancelledError():
            return failed(FailureClass.PREEMPTED, "the task was cancelled before it ran")
        case OutOfMemoryError():
            return failed(FailureClass.OUT_OF_MEMORY, sentence)
        case RayTaskError() if _is_of_node(error.cause):
            return failed(FailureClass.ENVIRONMENT, f"the node could not run the trial: {sentence}")
    return failed(FailureClass.LOST, sentence)
