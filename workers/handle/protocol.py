"""The handle that a training loop holds on to, in a worker and outside one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from torch import nn
from torch.optim import Optimizer

Model = TypeVar("Model", bound=nn.Module)


class Stateful(Protocol):
    """Whatever a checkpoint can hold: a scheduler, a gradient scaler, an average of weights."""

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

        A search that starts from weights has them loaded into `model` first. An inspection ends
        here: the sites found are told and the process exits with 0.

        Args:
            fused: Compute by fused kernels what has one. They are compiled in the first trial
                on a machine, and need `search_space.kernels.available(device.type)`.
            loss: Of a network on validation data. Where the trial starts from weights, rank 0
                calls it before the activations are put in and again after, and tells both.
        """
        ...

    def parameter_groups(
        self, model: nn.Module, *, lr: float, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        """Return the optimizer's two groups, with the trial's factors of the learning rate.

        The parameters of activations have a group of their own, without weight decay. A
        schedule that wants rates of its own, as `OneCycleLR` does, is given those of the groups.
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

        Each starts with torch, numpy and random seeded from (trial seed, epoch), and a lost
        attempt's work is taken up where its last checkpoint was stored.

        Args:
            n: All epochs of the training. The search's `epochs`, where it states them, wins.
            model: What is trained, also wrapped for several devices, or compiled.
            optimizer: Its steps count, not the batches: gradients may be accumulated.
            others: Further objects that a checkpoint must hold, as the scheduler or an average
                of the weights: whatever has `state_dict` and `load_state_dict`. Copies of the
                network among them switch phases with it.
            evaluated: The network that the reported metrics are of, where it is another than
                `model`, as an average of its weights. Its weights are the trial's result.
            steps_per_epoch: Optimizer steps in one epoch. Activations with phases then switch
                exactly when they should; without it they do after the first epoch at the
                earliest, and in trainings of fewer than five epochs after 50 steps.
        """
        ...

    def report(self, epoch: int, *, step_seconds: float | None = None, **metrics: float) -> None:
        """Tell the metrics of a finished epoch, obey the verdict, store the checkpoint.

        Where the trial ends here, the process exits with 0: no code after this call runs.
        """
        ...

    def warn(self, remark: str) -> None:
        """Keep a remark on the training, which its outcome will carry for people to read."""
        ...

    @property
    def directory(self) -> Path:
        """A folder of the trial's own, there and writable.

        A later attempt on the same worker finds what this one has left; it is removed when the
        trial has ended.
        """
        ...

    @property
    def micro_batches(self) -> int:
        """In how many parts to compute each batch, adding up their gradients for one step.

        1, and more where an attempt before this one ran out of memory. Activations with phases
        take the passes of one step as one batch then; a batch normalisation cannot.
        """
        ...

    @property
    def is_confirmation(self) -> bool:
        """Whether the trial confirms a winner: only then may test data be looked at."""
        ...

    def report_test(self, **metrics: float) -> None:
        """Tell metrics on test data. Does nothing except in a confirmation."""
        ...
