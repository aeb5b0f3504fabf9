"""How kernels look at an input: in memory order, without a copy where its channels allow it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


def settled(x: Tensor, channel_dim: int) -> Tensor:
    """Return `x`, or a contiguous copy where neither order of memory that kernels take is its.

    They take a contiguous tensor, and one that is so with its channels moved last.
    """
    if x.is_contiguous() or x.movedim(channel_dim, -1).is_contiguous():
        return x
    return x.contiguous()


def alike(g: Tensor, x: Tensor) -> Tensor:
    """Return `g` with the strides of `x`, which is settled."""
    if g.stride() == x.stride():
        return g
    return torch.empty_like(x, dtype=g.dtype).copy_(g)


class View(NamedTuple):
    """A settled tensor in memory order: `(outer, channels, length)`, channels in the middle.

    `length` is 1 where the channels are last.
    """

    outer: int
    channels: int
    length: int

    @staticmethod
    def of(x: Tensor, channel_dim: int) -> "View":
        dim = channel_dim % x.dim()
        channels = x.shape[dim]
        length = math.prod(x.shape[dim + 1 :]) if x.is_contiguous() else 1
        return View(x.numel() // max(1, channels * length), channels, length)


def flat(x: Tensor, channel_dim: int) -> Tensor:
    """Return a settled tensor in memory order, as `(elements,)`."""
    return x.view(-1) if x.is_contiguous() else x.movedim(channel_dim, -1).view(-1)
