"""What the rest of the system may ask of an activation that learns."""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class LearnedActivation(nn.Module):
    """An activation with parameters of its own; being of this type is what finds them.

    Everything a subclass registers counts, a small network inside it included: none of it
    is decayed, and all of it has the activations' learning rate.

    Attributes:
        frozen: Whether it stays the function that it is, see `freeze`.
    """

    frozen = False

    def freeze(self) -> None:
        """Stay the function that it is, also while the network around it trains.

        Its parameters get no gradients, and what it has of statistics follows no batch: it
        is in evaluation mode for good.
        """
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the function of one number that this activation is, on a grid.

        Args:
            x: `(P, C)`, the points for every channel.
            inputs: What the activation got from a batch, for one that looks at more than
                the number it is applied to; None where that is not known.
        """
        y: Tensor = self(x)
        return y

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Published modules keep a parameter of the channels as (1, C, 1, 1), and the layers of
        # a small network as convolutions of 1x1.
        for name, own in self.named_parameters():
            given = state_dict.get(prefix + name)
            if isinstance(given, Tensor) and _same_but_for_ones(given, own):
                state_dict[prefix + name] = given.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class PhasedActivation(LearnedActivation):
    """A learned activation that first watches its input, and learns only after `realign`.

    Until then it computes the function it starts as, and its parameters take part in the
    graph with zero gradients: optimizers, schedulers and DDP see every parameter all along.
    """

    @property
    def collecting(self) -> bool:
        """Whether it still collects statistics of its input."""
        raise NotImplementedError

    def realign(self, *, alone: bool = False) -> None:
        """Fit the parameters to the collected statistics, in place, and let them train.

        Args:
            alone: Of several ranks only this one does so, for a network of its own.
        """
        raise NotImplementedError

    def gather_parts(self) -> None:
        """Let the passes from one `end_batch` to the next count as parts of one batch.

        Statistics that do not depend on how a batch is divided need neither method.
        """

    def end_batch(self) -> None:
        """Take in the batch whose parts have been seen."""


def learned_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all learned activations in `model`, each once, in its order."""
    found: dict[nn.Parameter, None] = {}
    for module in model.modules():
        if isinstance(module, LearnedActivation):
            found.update(dict.fromkeys(module.parameters()))
    return list(found)


def phased_modules(model: nn.Module) -> Iterator[PhasedActivation]:
    """Yield every activation in `model` that has phases, whatever phase it is in."""
    for module in model.modules():
        if isinstance(module, PhasedActivation):
            yield module


def held(y: Tensor, *parameters: Tensor) -> Tensor:
    """Return `y`, with the parameters in its graph: they get gradients of zero, not none."""
    held: Tensor = _Held.apply(y, *parameters)  # type: ignore[no-untyped-call]
    return held


class _Held(torch.autograd.Function):
    """The identity of its first argument; the others get gradients of zero."""

    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad, *(torch.zeros_like(p) for p in ctx.saved_tensors)


def _same_but_for_ones(one: Tensor, other: Tensor) -> bool:
    """Whether two shapes are the same without their dimensions of size 1, but not with them."""
    sizes = ([size for size in t.shape if size != 1] for t in (one, other))
    return one.shape != other.shape and next(sizes) == next(sizes)
