"""What the rest of the system may ask of an activation that learns."""

from collections.abc import Iterator

from torch import nn


class LearnedActivation(nn.Module):
    """An activation with parameters of its own; being of this type is what finds them.

    Everything a subclass registers counts, a small network inside it included: none of it
    is decayed, and all of it has the activations' learning rate.
    """


class PhasedActivation(LearnedActivation):
    """A learned activation that first watches its input, and learns only after `realign`.

    Until then it computes the function it starts as, and its parameters take part in the
    graph with zero gradients: optimizers, schedulers and DDP see every parameter all along.
    """

    @property
    def collecting(self) -> bool:
        """Whether it still collects statistics of its input."""
        raise NotImplementedError

    def realign(self) -> None:
        """Fit the parameters to the collected statistics, in place, and let them train."""
        raise NotImplementedError


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
