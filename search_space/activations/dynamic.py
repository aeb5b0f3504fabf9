"""Activations whose coefficients are computed by a small network from the whole input."""

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.activations.network import mean_over_positions, require_channels_first
from search_space.catalog.entry import hidden_width

# The largest change that the small network makes to slopes and to offsets.
_SLOPE_REACH = 1.0
_OFFSET_REACH = 0.5


class _Squeeze(LearnedActivation):
    """Two layers with a ReLU between them, on the mean over positions."""

    def __init__(self, channels: int, outputs: int, reduction: int) -> None:
        super().__init__()
        hidden = hidden_width(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def excite(self, x: Tensor) -> Tensor:
        """Return the sigmoids of the outputs, `(N, outputs)`."""
        # Half precision loses most in sigmoids of means, and they cost nothing in float32.
        with torch.autocast(x.device.type, enabled=False):
            mean = mean_over_positions(x).to(self.fc1.weight.dtype)
            return torch.sigmoid(self.fc2(self.fc1(mean).relu()))


class _DyReLU(_Squeeze):
    """The largest of K lines, whose slopes and offsets are `(N, C, K)` or `(N, 1, K)`."""

    def __init__(self, channels: int, lines: int, reduction: int, pieces: int) -> None:
        super().__init__(channels, 2 * pieces * lines, reduction)
        self.pieces = pieces

    def lines(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes and offsets for every sample, channel (or 1) and line."""
        outputs = self.excite(x)
        lines = outputs.shape[1] // (2 * self.pieces)
        moved = (2 * outputs - 1).view(-1, lines, 2, self.pieces)
        # The first line starts as the identity, all others as 0: their maximum is ReLU.
        start = torch.zeros_like(moved[0:1, 0:1, 0])
        start[..., 0] = 1
        return start + _SLOPE_REACH * moved[:, :, 0], _OFFSET_REACH * moved[:, :, 1]

    def forward(self, x: Tensor) -> Tensor:
        return _largest(x, *self.lines(x))

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:
        lines = self.lines(x if inputs is None else inputs)
        return _largest(x, *(coefficients.mean(0, keepdim=True) for coefficients in lines))


def _largest(x: Tensor, slopes: Tensor, offsets: Tensor) -> Tensor:
    """Return the largest of the lines at `x`, in the dtype of `x`."""
    wide = x.to(working_dtype(x))
    slope, offset = (
        [along_channels(t.to(wide.dtype), x, 1) for t in coefficients.unbind(2)]
        for coefficients in (slopes, offsets)
    )
    y = torch.addcmul(offset[0], slope[0], wide)
    for a, b in zip(slope[1:], offset[1:], strict=True):
        y = torch.maximum(y, torch.addcmul(b, a, wide))
    return y.to(x.dtype)


class DyReLUA(_DyReLU):
    r"""Dynamic ReLU A: the largest of K lines, the same for all channels of a sample.

    .. math::
        f(x) = \max_k (a^k x + b^k), \quad
        a^k = \alpha^k + (2 \sigma(\cdot) - 1), \; b^k = (2 \sigma(\cdot) - 1) / 2

    It starts near ReLU: the slopes vary around (1, 0, ...).

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1; any other value is refused, because a mean over tokens leaks the future.
        reduction: Channels per hidden unit, of which there are at least 4.
        pieces: Number K of lines.

    Shape:
        - Input: `(N, C, *)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        BadParameter: If `channel_dim` is not 1.

    Source:
        Chen et al., *Dynamic ReLU*, 2020. https://arxiv.org/abs/2003.10027
    """

    def __init__(
        self, channels: int, *, channel_dim: int = 1, reduction: int = 8, pieces: int = 2
    ) -> None:
        require_channels_first("dy_relu_a", channel_dim)
        super().__init__(channels, 1, reduction, pieces)


class DyReLUB(_DyReLU):
    r"""Dynamic ReLU B: the largest of K lines, different for every channel of every sample.

    .. math::
        f(x)_c = \max_k (a^k_c x_c + b^k_c), \quad
        a^k_c = \alpha^k + (2 \sigma(\cdot) - 1), \; b^k_c = (2 \sigma(\cdot) - 1) / 2

    It starts near ReLU: the slopes vary around (1, 0, ...).

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1; any other value is refused, because a mean over tokens leaks the future.
        reduction: Channels per hidden unit, of which there are at least 4.
        pieces: Number K of lines.

    Shape:
        - Input: `(N, C, *)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input has another number of channels.

    Source:
        Chen et al., *Dynamic ReLU*, 2020. https://arxiv.org/abs/2003.10027
    """

    def __init__(
        self, channels: int, *, channel_dim: int = 1, reduction: int = 8, pieces: int = 2
    ) -> None:
        require_channels_first("dy_relu_b", channel_dim)
        super().__init__(channels, channels, reduction, pieces)


class SEReLU(_Squeeze):
    r"""ReLU whose channels are gated by a small network of their means.

    .. math:: f(x) = r \, \sigma(W_2 \max(W_1 \operatorname{mean} r, 0)), \quad r = \max(x, 0)

    Args:
        channels: Size of dimension 1 of the input.
        channel_dim: 1; any other value is refused, because a mean over tokens leaks the future.
        reduction: Channels per hidden unit, of which there are at least 4.

    Shape:
        - Input: `(N, C, *)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. The gate is computed in float32.

    Raises:
        BadParameter: If `channel_dim` is not 1.
        ValueError: If the input has another number of channels.

    Source:
        Hu, Shen and Sun, *Squeeze-and-Excitation Networks*, 2018, whose gate stands after a
        whole block. https://arxiv.org/abs/1709.01507
    """

    def __init__(self, channels: int, *, channel_dim: int = 1, reduction: int = 16) -> None:
        require_channels_first("se_relu", channel_dim)
        super().__init__(channels, channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        rectified = x.relu()
        return rectified * along_channels(self.excite(rectified).to(x.dtype), x, 1)

    def curve(self, x: Tensor, inputs: Tensor | None) -> Tensor:
        gate = self.excite((x if inputs is None else inputs).relu())
        return x.relu() * gate.mean(0, keepdim=True).to(x.dtype)
