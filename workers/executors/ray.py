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
from workers.attempt.outbox import said_in
from workers.errors import BadSetting, NoDiskSpace
from workers.executors.base import Order, Share
from workers.executors.node import Ended, Printed, Started, Word, run_on_node
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


def room(share: Share) -> int:
    """Return how many trials of such a share the cluster holds as it is now, at least 1."""
    there = ray.cluster_resources()
    wanted = {"CPU": share.cpus, "GPU": share.gpus}
    fitting = [int(there.get(name, 0) / amount) for name, amount in wanted.items() if amount]
    return max(1, min(fitting, default=1))


def has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))


class RayExecutor:
    """Implements `Executor` on the cluster that `connect` has joined.

    More slots than the cluster has room for wait in it, which is what its autoscaler goes by.

    Args:
        place: The same folders on every node; `threads` are those of one trial.
        share: What of a node a trial is given.
    """

    def __init__(self, place: Place, *, slots: int, share: Share) -> None:
        self._place = place
        self._slots = slots
        here = ray.get_runtime_context().get_node_id()
        self._board = (
            ray.remote(Board)
            .options(
                num_cpus=0,
                max_concurrency=2 * slots + 16,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote()
        )
        self._run = ray.remote(run_on_node).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            num_returns="streaming",
            # A lost attempt is the service's to repeat.
            max_retries=0,
        )

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def devices(self) -> list[str]:
        there = ray.cluster_resources()
        amounts = f"{there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs"
        return [f"ray, {len(_nodes())} nodes: {amounts}"]

    def start(self, order: Order, *, slot: int) -> "RayRunning":  # noqa: ARG002
        lease = order.lease_file.read_bytes()
        key = uuid.uuid4().hex
        words = self._run.remote(order.task, order.settings, lease, self._place, self._board, key)
        return RayRunning(words, order, self._board, key)


class RayRunning:
    """Implements `Running` for one task: a thread takes in what it says."""

    def __init__(self, words: Any, order: Order, board: Any, key: str) -> None:
        self._words = words
        self._order = order
        self._board = board
        self._key = key
        self._node: str | None = None
        self._code: int | None = None
        self._cause: Outcome | None = None
        self._is_place_gone = False
        self._ended = threading.Event()
        threading.Thread(target=self._listen, name=f"ray-{key[:8]}", daemon=True).start()

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
        self._tell(signal.SIGTERM)

    def kill(self) -> None:
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        if self._ended.is_set():
            return
        self._board.tell.remote(self._key, int(number))
        if not self.is_placed:
            with contextlib.suppress(RayError):
                ray.cancel(self._words)

    def _listen(self) -> None:
        # Nothing said: the executor's edge, where whatever broke becomes a lost attempt.
        self._code = -signal.SIGKILL
        try:
            for word in self._words:
                self._take_in(ray.get(word))
        except Exception as error:
            self._cause = _cause_of(error)
            # A `WorkerCrashedError` is no such thing: there a process died on a node that lives.
            self._is_place_gone = isinstance(error, NodeDiedError | ObjectLostError)
        finally:
            self._board.forget.remote(self._key)
            self._ended.set()

    def _take_in(self, word: Word) -> None:
        match word:
            case Started(node):
                logger.info("%s runs on node %s", self._order.lease_file.stem[:8], node)
                self._node = node
            case Printed(output):
                with self._order.log.open("ab") as log:
                    log.write(output)
            case Ended():
                self._code, self._cause = word.code, word.cause
                if word.said is not None:
                    said_in(self._order.lease_file).write_bytes(word.said)
                if not word.owes_last_word:
                    self._order.lease_file.unlink(missing_ok=True)


class Board:
    """An actor on which signals for tasks are pinned; Ray's own cancelling cannot be waited for."""

    def __init__(self) -> None:
        self._pinned: dict[str, int] = {}
        self._changed = asyncio.Condition()

    async def tell(self, key: str, number: int) -> None:
        async with self._changed:
            self._pinned[key] = number
            self._changed.notify_all()

    async def told(self, key: str, known: int) -> int:
        """Return the signal for a task once it is another than `known`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pinned.get(key, known) != known)
            return self._pinned[key]

    async def forget(self, key: str) -> None:
        self._pinned.pop(key, None)


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _is_of_the_node(error: BaseException) -> bool:
    """Whether a node lacks something, as opposed to having been cut off in the middle."""
    lacks = isinstance(error, ImportError | OSError | NoDiskSpace)
    return lacks and not isinstance(error, ConnectionError)


def _cause_of(error: Exception) -> Outcome:
    """Return how an attempt ended whose task could not say so itself."""
    origin = error.cause if isinstance(error, RayTaskError) else error
    sentence = f"{type(origin).__name__}: {' '.join(str(origin).split())[:2000]}"
    match error:
        case TaskCancelledError():
            return failed(FailureClass.PREEMPTED, "the task was cancelled before it ran")
        case OutOfMemoryError():
            return failed(FailureClass.OUT_OF_MEMORY, sentence)
        case RayTaskError() if _is_of_the_node(error.cause):
            return failed(FailureClass.ENVIRONMENT, f"the node could not run the trial: {sentence}")
    return failed(FailureClass.LOST, sentence)
