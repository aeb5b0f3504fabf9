"""The handle that a training loop uses, in a worker and outside one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from torch import nn
from torch.optim import Optimizer

Model = TypeVar("Model", bound=nn.Module)


class Stateful(Protocol):
    """An object that a checkpoint can hold: a scheduler, a gradient scaler, a weight average."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class Trial(Protocol):
    """One trial, seen from the training loop. Use it as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def apply(
        self,
        model: Model,
        example_batch: Any,
        *,
        fused: bool = False,
        loss: Callable[[nn.Module], float] | None = None,
    ) -> Model:
        """Put the trial's activations into `model`, in place, and return it.

        If the search starts from weights, they are loaded into `model` first. An inspection ends
        here: it reports the sites found, and the process exits with 0.

        Args:
            fused: Use fused kernels for the activations that have one. They are compiled in the
                first trial on a machine, and need `search_space.kernels.available(device.type)`.
            loss: Returns the loss of a network on validation data. If the trial starts from
                weights, rank 0 calls it before the activations are put in and after, and
                reports both.
        """
        ...

    def parameter_groups(
        self, model: nn.Module, *, lr: float, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        """Return the optimizer's two groups, with the trial's factors of the learning rate.

        The parameters of activations are a separate group, without weight decay. A schedule that
        takes learning rates itself, such as `OneCycleLR`, must get those of the groups.
        """
        ...

    def epochs(
        self,
        n: int,
        model: nn.Module,
        optimizer: Optimizer,
        *others: Stateful,
        steps_per_epoch: int | None = None,
        evaluated: nn.Module | None = None,
    ) -> Iterator[int]:
        """Yield the epochs still to be trained, counted from 0.

        At the start of each, torch, numpy and random are seeded from (trial seed, epoch). After
        a lost attempt, the next one resumes from the last checkpoint that was stored.

        Args:
            n: Number of epochs of the whole training. If the search states `epochs`, its number
                is used instead.
            model: The network that is trained; it may be wrapped for several devices, or compiled.
            optimizer: Its steps are counted, not the batches: gradients may be accumulated.
            others: Further objects that a checkpoint must hold, such as the scheduler or a weight
                average: they have `state_dict` and `load_state_dict`. Copies of the network among
                them switch phases with it.
            evaluated: The network that the reported metrics are of, if that is not `model` but,
                for example, a weight average. Its weights are the trial's result.
            steps_per_epoch: Optimizer steps in one epoch. Activations with phases then switch
                exactly when they should; without it they do after the first epoch at the
                earliest, and in trainings of fewer than five epochs after 50 steps.
        """
        ...

    def report(self, epoch: int, *, step_seconds: float | None = None, **metrics: float) -> None:
        """Report the metrics of a finished epoch, obey the verdict, store the checkpoint.

        If the trial ends here, the process exits with 0: no code after this call runs.

        Args:
            epoch: Counted from 0.
            step_seconds: Mean seconds of one optimizer step; None: as the handle has measured it.
        """
        ...

    def warn(self, remark: str) -> None:
        """Add a remark on the training to its outcome, for people to read."""
        ...

    @property
    def directory(self) -> Path:
        """A folder of the trial, which exists and is writable.

        Another attempt at the trial on the same worker finds the files of this one. The folder is
        removed when the trial has ended.
        """
        ...

    @property
    def micro_batches(self) -> int:
        """Number of parts to split each batch into, whose gradients are accumulated for one step.

        It is 1, and more if an earlier attempt ran out of memory. Activations with phases then
        count the forward passes of one step as one batch; a batch normalisation cannot do that.
        """
        ...

    @property
    def is_confirmation(self) -> bool:
        """Whether the trial confirms a winner: only then may test data be used."""
        ...

    def report_test(self, **metrics: float) -> None:
        """Report metrics on test data. Does nothing except in a confirmation."""
        ...
