"""Base classes of learned activations, and how to find them in a network."""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class LearnedActivation(nn.Module):
    """An activation with parameters of its own, which are found by this type.

    All parameters that a subclass registers count, also those of a small network inside it:
    they have no weight decay, and the activations' learning rate.

    Attributes:
        frozen: Whether it keeps its function, see `freeze`.
    """

    frozen = False

    def freeze(self) -> None:
        """Keep the current function, also while the network around it trains.

        Its parameters get no gradients, and its statistics do not follow batches: it stays in
        evaluation mode.
        """
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the values of this activation, as a function of one number, on a grid.

        Args:
            x: `(P, C)`, the points for every channel.
            inputs: The activation's input on a batch, for one that depends on more than the
                number it is applied to; None if not known.
        """
        y: Tensor = self(x)
        return y

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Published modules keep a parameter of the channels as (1, C, 1, 1), and the layers of
        # a small network as convolutions of 1x1: their weights load here.
        for name, own in self.named_parameters():
            given = state_dict.get(prefix + name)
            if isinstance(given, Tensor) and _differ_in_unit_dims(given, own):
                state_dict[prefix + name] = given.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class PhasedActivation(LearnedActivation):
    """A learned activation that first collects statistics of its input, and learns after `realign`.

    Until then it computes its start function, and its parameters are in the graph with zero
    gradients: optimizers, schedulers and DDP have every parameter from the first step.
    """

    @property
    def collecting(self) -> bool:
        """Whether it still collects statistics of its input."""
        raise NotImplementedError

    def realign(self, *, alone: bool = False) -> None:
        """Fit the parameters to the collected statistics, in place, and let them train.

        Args:
            alone: Do not average over ranks, because only this one realigns, its own network.
        """
        raise NotImplementedError

    def gather_parts(self) -> None:
        """Count the passes until each `end_batch` as parts of one batch.

        Statistics that do not depend on how a batch is divided need neither method.
        """

    def end_batch(self) -> None:
        """Add the batch of the parts since the last call to the statistics."""


def learned_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all learned activations in `model`, each once, in its order."""
    found: dict[nn.Parameter, None] = {}
    for module in model.modules():
        if isinstance(module, LearnedActivation):
            found.update(dict.fromkeys(module.parameters()))
    return list(found)


def phased_modules(model: nn.Module) -> Iterator[PhasedActivation]:
    """Yield every activation in `model` that has phases, in any phase."""
    for module in model.modules():
        if isinstance(module, PhasedActivation):
            yield module


def keep_in_graph(y: Tensor, *parameters: Tensor) -> Tensor:
    """Return `y` with the parameters in its graph: their gradients are zeros, not None."""
    kept: Tensor = _KeepInGraph.apply(y, *parameters)  # type: ignore[no-untyped-call]
    return kept


class _KeepInGraph(torch.autograd.Function):
    """The identity of its first argument; the other arguments get gradients of zero."""

    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad, *(torch.zeros_like(p) for p in ctx.saved_tensors)


def _differ_in_unit_dims(one: Tensor, other: Tensor) -> bool:
    """Whether two shapes differ, but are equal without their dimensions of size 1."""
    sizes = ([size for size in t.shape if size != 1] for t in (one, other))
    return one.shape != other.shape and next(sizes) == next(sizes)
