"""The functions of one number that a learned activation may start as, and their slopes."""

from collections.abc import Callable

import torch
from torch import Tensor

from search_space.catalog.lookup import get_entry


def scalar_function(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function of a catalogue entry without learned parameters, at its defaults.

    It is a bound method, not a module, so an activation that keeps it gets no submodule.
    """
    forward: Callable[[Tensor], Tensor] = get_entry(name).load()().forward
    return forward


@torch.enable_grad()
def derivative(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the derivative of a function of one number at every element of `x`."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    return slope
