"""How parameters of a channel or a layer meet an input of any rank."""

import torch
from torch import Tensor


def along_channels(parameter: Tensor, x: Tensor, channel_dim: int) -> Tensor:
    """Return a view of `parameter` that broadcasts over `x`.

    Args:
        parameter: `(C,)`, `(1,)` or a scalar; `(N, C)` where it differs between samples.
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.

    Raises:
        ValueError: If `x` has another number of channels, which broadcasting would hide.
    """
    channels = x.shape[channel_dim]
    if parameter.dim() and parameter.shape[-1] not in (1, channels):
        raise ValueError(
            f"the parameters are for {parameter.shape[-1]} channels, but dimension "
            f"{channel_dim} of the input of shape {tuple(x.shape)} has {channels}"
        )
    shape = [1] * x.dim()
    shape[channel_dim] = parameter.shape[-1] if parameter.dim() else 1
    if parameter.dim() == 2:
        shape[0] = parameter.shape[0]
    return parameter.view(shape)


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which to compute on `x`: its own, but at least float32."""
    return torch.promote_types(x.dtype, torch.float32)
