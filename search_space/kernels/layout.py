"""Memory layouts that kernels accept, and how they index an input of such a layout."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


def as_dense(x: Tensor, channel_dim: int) -> Tensor:
    """Return `x` if kernels accept its memory layout, else a contiguous copy.

    They accept two: a contiguous tensor, and one that is contiguous with its channels moved last.
    """
    if x.is_contiguous() or x.movedim(channel_dim, -1).is_contiguous():
        return x
    return x.contiguous()


def with_strides_of(x: Tensor, g: Tensor) -> Tensor:
    """Return `g` with the strides of the dense `x`, so that one index serves both."""
    if g.stride() == x.stride():
        return g
    return torch.empty_like(x, dtype=g.dtype).copy_(g)


class MemoryView(NamedTuple):
    """The shape of a dense tensor in memory order: `(outer, channels, length)`.

    `length` is 1 if the channels are last.
    """

    outer: int
    channels: int
    length: int

    @staticmethod
    def of(x: Tensor, channel_dim: int, *, is_shared: bool = False) -> "MemoryView":
        """Return the view of a dense tensor.

        Args:
            is_shared: All elements have the same parameters, so the input is one long run.
        """
        if is_shared:
            return MemoryView(1, 1, x.numel())
        dim = channel_dim % x.dim()
        channels = x.shape[dim]
        # Contiguous comes first: a tensor with one position is both, and runs are faster.
        length = math.prod(x.shape[dim + 1 :]) if x.is_contiguous() else 1
        return MemoryView(x.numel() // max(1, channels * length), channels, length)


def flat(x: Tensor, channel_dim: int) -> Tensor:
    """Return a dense tensor in memory order, as `(elements,)`, without a copy."""
    return x.view(-1) if x.is_contiguous() else x.movedim(channel_dim, -1).view(-1)
