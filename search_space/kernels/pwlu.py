"""PWLU, fused: kernels as operators of torch. The plain form is `activations.pwlu_function`."""

from typing import Any

import torch
from torch import Tensor

from search_space.activations.broadcasting import require_channels
from search_space.kernels import layout, load


def pwlu(
    x: Tensor,
    values: Tensor,
    left_slope: Tensor,
    right_slope: Tensor,
    left: Tensor,
    right: Tensor,
    channel_dim: int = 1,
) -> Tensor:
    """`activations.pwlu.pwlu` in one pass over the input, and one in the backward pass.

    Arguments, result and gradients are those of the plain function. Keeps the input and the
    parameters for the backward pass.

    Raises:
        ValueError: If `x` has another number of channels than the parameters.
        ModuleNotFoundError: If the compiler of the kernels for the device of `x` is missing.
    """
    require_channels(values.shape[0], x, channel_dim)
    y: Tensor = _forward(x, values, left_slope, right_slope, left, right, channel_dim)
    return y


@torch.library.custom_op("activation_search::pwlu", mutates_args=())
def _forward(
    x: Tensor,
    values: Tensor,
    left_slope: Tensor,
    right_slope: Tensor,
    left: Tensor,
    right: Tensor,
    channel_dim: int,
) -> Tensor:
    parameters = (values, left_slope, right_slope, left, right)
    kernels = load("pwlu", x.device.type)
    y: Tensor = kernels.forward(layout.as_dense(x, channel_dim), parameters, channel_dim)
    return y


@torch.library.custom_op("activation_search::pwlu_backward", mutates_args=())
def _backward(
    grad: Tensor,
    x: Tensor,
    values: Tensor,
    left_slope: Tensor,
    right_slope: Tensor,
    left: Tensor,
    right: Tensor,
    channel_dim: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    parameters = (values, left_slope, right_slope, left, right)
    x = layout.as_dense(x, channel_dim)
    kernels = load("pwlu", x.device.type)
    dx, *gradients = kernels.backward(x, layout.with_strides_of(x, grad), parameters, channel_dim)
    d_values, d_left_slope, d_right_slope, d_left, d_right = (
        d.to(p.dtype) for d, p in zip(gradients, parameters, strict=True)
    )
    return dx, d_values, d_left_slope, d_right_slope, d_left, d_right


@_forward.register_fake
def _(x: Tensor, *parameters: Any) -> Tensor:
    # The strides must be those that the kernel returns, or a compiler plans the wrong memory.
    return torch.empty_like(layout.as_dense(x, parameters[-1]))


@_backward.register_fake
def _(_: Tensor, x: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
    *tensors, channel_dim = parameters
    dx = torch.empty_like(layout.as_dense(x, channel_dim))
    return dx, *(torch.empty_like(p, memory_format=torch.contiguous_format) for p in tensors)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    *tensors, ctx.channel_dim = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(grad, *ctx.saved_tensors, ctx.channel_dim), None


_forward.register_autograd(_differentiate, setup_context=_keep)
