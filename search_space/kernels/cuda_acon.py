"""ACON-C for CUDA, in Triton: one pass over the input forward, one backward.

With `a = p1 - p2`, `b = beta a`, `u = b x` and `s = sigmoid(u)`: `y = x (a s + p2)`. A program
computes a part of the elements that share their parameters, at any place in memory. In the
backward pass it writes its sums once; a second reduction adds the parts in their order. There are
no atomics, so equal inputs give equal bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from search_space.kernels.grid import index_type, parts
from search_space.kernels.layout import MemoryView

_BLOCK = 1024


def forward(x: Tensor, a: Tensor, b: Tensor, p2: Tensor, channel_dim: int) -> Tensor:
    """Return ACON-C of a dense `x`, with its strides.

    Args:
        a: `(1, 1)`, `(1, C)`, or `(N, C)` where it differs between samples; as `b` and `p2`.
    """
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    view = MemoryView.of(x, channel_dim, is_shared=a.numel() == 1)
    each = view.outer // a.shape[0] * view.length
    size, count = parts(each, a.numel(), _BLOCK)
    parameters = (p.contiguous() for p in (a, b, p2))
    _forward[(a.numel(), count)](
        x, y, *parameters, view.channels, view.length, each, size, index_type(x), _BLOCK
    )  # fmt: skip
    return y


def backward(
    x: Tensor, grad: Tensor, a: Tensor, b: Tensor, p2: Tensor, channel_dim: int
) -> tuple[Tensor, Tensor]:
    """Return the gradient of a dense `x`, and sums for those of the parameters.

    Returns:
        `dx`; and, with `q = s + u s (1 - s)`, the sums of `g x`, `g x q` and `g x^2 s (1 - s)`
        over the elements that share their parameters, `(3, samples, channels)`.
    """
    dx = torch.empty_like(x)
    if x.numel() == 0:
        return dx, a.new_zeros(3, *a.shape)
    view = MemoryView.of(x, channel_dim, is_shared=a.numel() == 1)
    each = view.outer // a.shape[0] * view.length
    size, count = parts(each, a.numel(), _BLOCK)
    sums = a.new_empty(3, count, a.numel())
    parameters = (p.contiguous() for p in (a, b, p2))
    _backward[(a.numel(), count)](
        x, grad, dx, sums, *parameters, view.channels, view.length, each, size,
        index_type(x), _BLOCK,
    )  # fmt: skip
    return dx, sums.sum(1).view(3, *a.shape)


@triton.jit
def _forward(x, y, a, b, p2, channels, length, each, size, kind: tl.constexpr, block: tl.constexpr):
    k = tl.program_id(0).to(kind)
    start = tl.program_id(1).to(kind) * size
    stop = tl.minimum(start + size, each)
    a, b, p2 = tl.load(a + k), tl.load(b + k), tl.load(p2 + k)
    for first in range(start, stop, block):
        i = first + tl.arange(0, block)
        at = _at(i, k, channels, length, each)
        inside = i < stop
        v = tl.load(x + at, mask=inside, other=0.0).to(a.dtype)
        s = 1 / (1 + tl.exp(-b * v))
        tl.store(y + at, (v * (a * s + p2)).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    x,
    grad,
    dx,
    sums,
    a,
    b,
    p2,
    channels,
    length,
    each,
    size,
    kind: tl.constexpr,
    block: tl.constexpr,
):
    k = tl.program_id(0).to(kind)
    part = tl.program_id(1).to(kind)
    start = part * size
    stop = tl.minimum(start + size, each)
    a, b, p2 = tl.load(a + k), tl.load(b + k), tl.load(p2 + k)
    total = tl.zeros((block,), a.dtype)
    first_slope = tl.zeros((block,), a.dtype)
    sharpness = tl.zeros((block,), a.dtype)
    for first in range(start, stop, block):
        i = first + tl.arange(0, block)
        at = _at(i, k, channels, length, each)
        inside = i < stop
        v = tl.load(x + at, mask=inside, other=0.0).to(a.dtype)
        g = tl.load(grad + at, mask=inside, other=0.0).to(a.dtype)
        u = b * v
        s = 1 / (1 + tl.exp(-u))
        slope = s * (1 - s)
        q = s + u * slope
        tl.store(dx + at, (g * (a * q + p2)).to(dx.dtype.element_ty), mask=inside)
        total += g * v
        first_slope += g * v * q
        # Multiplied in an order that avoids overflow.
        sharpness += g * slope * v * v
    # Each program has its own place in `sums`, so no atomics are needed.
    rows = tl.num_programs(0)
    stride = tl.num_programs(1).to(kind) * rows
    to = sums + part * rows + k
    tl.store(to, tl.sum(total))
    tl.store(to + stride, tl.sum(first_slope))
    tl.store(to + 2 * stride, tl.sum(sharpness))


@triton.jit
def _at(i, k, channels, length, each):
    """Return the index of element `i` of those with parameters `k`, of sample `k // channels`."""
    outer = k // channels * (each // length) + i // length
    return (outer * channels + k % channels) * length + i % length
