"""Helpers for the small networks inside activations: means, norms and their dtype."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.broadcasting import working_dtype
from search_space.errors import BadParameter


def require_channels_first(activation: str, channel_dim: int) -> None:
    """Raise `BadParameter` unless channels are in dimension 1.

    Where positions are tokens, an average over them leaks the future.
    """
    if channel_dim != 1:
        raise BadParameter(activation, "channel_dim", channel_dim, "1")


def mean_over_positions(x: Tensor) -> Tensor:
    """Return the `(N, C)` mean of `(N, C, *)`, at least in float32."""
    x = x.to(working_dtype(x))
    return x.mean(tuple(range(2, x.dim()))) if x.dim() > 2 else x


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Return `norm(x)`; with less than two values a channel, by the running statistics.

    In training a batch norm refuses such an input, because it has no variance.
    """
    few = x.numel() < 2 * x.shape[1]
    if few and isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.training:
        running = norm.running_mean, norm.running_var
        return F.batch_norm(x, *running, norm.weight, norm.bias, eps=norm.eps)
    y: Tensor = norm(x)
    return y
