"""How parameters of a channel or a layer broadcast over an input of any rank."""

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
    if parameter.dim():
        require_channels(parameter.shape[-1], x, channel_dim)
    shape = [1] * x.dim()
    shape[channel_dim] = parameter.shape[-1] if parameter.dim() else 1
    if parameter.dim() == 2:
        shape[0] = parameter.shape[0]
    return parameter.view(shape)


def require_channels(width: int, x: Tensor, channel_dim: int) -> None:
    """Raise `ValueError` unless parameters of this width fit `x`: one, or one for each channel."""
    channels = x.shape[channel_dim]
    if width not in (1, channels):
        raise ValueError(
            f"the parameters are for {width} channels, but dimension {channel_dim} of the "
            f"input of shape {tuple(x.shape)} has {channels}"
        )


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which to compute on `x`: its own, but at least float32."""
    return torch.promote_types(x.dtype, torch.float32)
