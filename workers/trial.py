"""`trial()`: the handle of a training loop, and the handle without a worker."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer

from search_space.apply import parameter_groups
from search_space.spec import Training
from workers.environment import GPU_SHARE, LEASE_FILE
from workers.handle.phases import PhaseScheduler
from workers.handle.protocol import Model, Stateful, Trial

logger = logging.getLogger(__name__)


def trial() -> Trial:
    """Return the handle of the trial that this process was started for.

    Without a worker, the handle leaves the network as it is and reports nothing, so that a script
    runs as it did before. On entering the `with` block, random numbers are seeded: a model that
    is built inside has initial weights that follow from the trial's seed.
    """
    path = os.environ.get(LEASE_FILE)
    if path is None:
        return StandaloneTrial()
    _limit_gpu_memory()
    # Imported here: a standalone script needs only torch and numpy, and no HTTP client.
    from workers.handle.distributed import open_attempt
    from workers.handle.served import ServedTrial

    return ServedTrial(open_attempt(Path(path)))


def _limit_gpu_memory() -> None:
    """Limit this process to the trial's share of the GPU's memory."""
    # So that a trial that needs too much fails itself, and not another one on the same GPU.
    share = os.environ.get(GPU_SHARE)
    if share is not None and torch.cuda.is_available():
        rank = int(os.environ.get("LOCAL_RANK", 0))
        torch.cuda.set_per_process_memory_fraction(float(share), rank)


class StandaloneTrial:
    """The handle without a worker: the original network, and no reports."""

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def apply(
        self,
        model: Model,
        example_batch: Any,  # noqa: ARG002
        *,
        fused: bool = False,  # noqa: ARG002
        loss: Callable[[nn.Module], float] | None = None,  # noqa: ARG002
    ) -> Model:
        return model

    def parameter_groups(
        self, model: nn.Module, *, lr: float, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        return parameter_groups(model, lr=lr, weight_decay=weight_decay)

    def epochs(
        self,
        n: int,
        model: nn.Module,
        optimizer: Optimizer,
        *others: Stateful,
        steps_per_epoch: int | None = None,
        evaluated: nn.Module | None = None,  # noqa: ARG002
    ) -> Iterator[int]:
        # The script may have applied a config itself, whose activations may have phases.
        phase_scheduler = PhaseScheduler(
            model, optimizer, others, share=Training().realign_after, epochs=n
        )
        phase_scheduler.steps_per_epoch = steps_per_epoch
        for epoch in range(n):
            yield epoch
            phase_scheduler.end_epoch()
        phase_scheduler.close()

    def report(self, epoch: int, *, step_seconds: float | None = None, **metrics: float) -> None:
        pass

    def warn(self, remark: str) -> None:
        logger.warning("%s", remark)

    @property
    def directory(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="actsearch-")
        return Path(self._folder.name)

    @property
    def micro_batches(self) -> int:
        return 1

    @property
    def is_confirmation(self) -> bool:
        return False

    def report_test(self, **metrics: float) -> None:
        pass
