"""ACON-C, fused: kernels as operators of torch. The plain form is in `activations.acon`."""

from typing import Any

import torch
from torch import Tensor

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.kernels import layout, load


def acon_c(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int = 1) -> Tensor:
    """`activations.acon.acon_c` in one pass over the input, and one in the backward pass.

    Arguments, result and gradients are those of the plain function. Keeps the input and the
    parameters for the backward pass.

    Raises:
        ValueError: If `x` has another number of channels than the parameters.
        ModuleNotFoundError: If the compiler of the kernels for the device of `x` is missing.
    """
    # Kernels do not check sizes; this raises if one does not fit.
    for parameter in (p1, p2, beta):
        along_channels(parameter, x, channel_dim)
    y: Tensor = _forward(x, p1, p2, beta, channel_dim)
    return y


@torch.library.custom_op("activation_search::acon_c", mutates_args=())
def _forward(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int) -> Tensor:
    parameters = _combined(x, p1, p2, beta)
    kernels = load("acon", x.device.type)
    y: Tensor = kernels.forward(layout.as_dense(x, channel_dim), *parameters, channel_dim)
    return y


@torch.library.custom_op("activation_search::acon_c_backward", mutates_args=())
def _backward(
    grad: Tensor, x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parameters = _combined(x, p1, p2, beta)
    x = layout.as_dense(x, channel_dim)
    kernels = load("acon", x.device.type)
    dx, sums = kernels.backward(x, layout.with_strides_of(x, grad), *parameters, channel_dim)
    # With z = (p1 - p2) x, u = beta z and s = sigmoid(u), the output is z s + p2 x, and q is the
    # derivative of u s by u.
    total, first, sharp = sums
    d_beta = sharp * parameters[0].square()
    gradients = zip((first, total - first, d_beta), (p1, p2, beta), strict=True)
    dp1, dp2, d_beta = (_summed(d, p) for d, p in gradients)
    return dx, dp1, dp2, d_beta


@_forward.register_fake
def _(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int) -> Tensor:  # noqa: ARG001
    return torch.empty_like(layout.as_dense(x, channel_dim))


@_backward.register_fake
def _(_: Tensor, x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor, dim: int) -> tuple[Tensor, ...]:
    dx = torch.empty_like(layout.as_dense(x, dim))
    contiguous = torch.contiguous_format
    return dx, *(torch.empty_like(p, memory_format=contiguous) for p in (p1, p2, beta))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    *tensors, ctx.channel_dim = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(grad, *ctx.saved_tensors, ctx.channel_dim), None


_forward.register_autograd(_differentiate, setup_context=_keep)


def _combined(x: Tensor, p1: Tensor, p2: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `a = p1 - p2`, `b = beta a` and `p2` in the dtype of the computation.

    All have one shape: `(1 or N, 1 or C)`.
    """
    wide = (p.to(working_dtype(x)) for p in (p1, p2, beta))
    p1, p2, beta = (p if p.dim() == 2 else p.view(1, -1) for p in wide)
    a = p1 - p2
    b = beta * a
    return a.expand_as(b), b, p2.expand_as(b)


def _summed(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Sum a gradient `(1 or N, 1 or C)` to the shape and dtype of its parameter."""
    return gradient.sum_to_size(parameter.shape).to(parameter.dtype).contiguous()
