"""The smooth maximum of several learned lines."""

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.spec import Share


def smooth_maximum(z: Tensor, beta: Tensor) -> Tensor:
    r"""Mean of values, weighted by their exponentials.

    .. math:: S_\beta(z) = \sum_i z_i e^{\beta z_i} / \sum_i e^{\beta z_i}

    It tends to the maximum for a large beta and to the minimum for a large negative beta; at 0
    it is the mean.

    Args:
        z: `(n, *)`, the n values at every place.
        beta: Broadcasts over `(*)`.

    Returns:
        `(*)`, in the dtype of `z`.

    Source:
        Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.1.
        https://arxiv.org/abs/2009.04759
    """
    return (z * torch.softmax(beta * z, 0)).sum(0)


class SmoothMaximum(LearnedActivation):
    r"""Smooth maximum of lines with learned slopes, offsets and sharpness.

    .. math:: f(x) = S_\beta(a_1 x + b_1, \dots, a_n x + b_n)

    It starts with slopes spread evenly from 1 to 0 and no offsets, near SiLU.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for lines of each channel, `layer` for one set of them.
        lines: Number n of lines.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Our reading of Ma, Zhang, Liu and Sun, *Activate or Not*, 2021, section 3.1, which
        uses the smooth maximum of two lines through 0. https://arxiv.org/abs/2009.04759
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        lines: int = 3,
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.slopes = nn.Parameter(torch.linspace(1, 0, lines).repeat(width, 1))
        self.offsets = nn.Parameter(torch.zeros(width, lines))
        self.beta = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))

        def view(parameter: Tensor) -> Tensor:
            return along_channels(parameter.to(wide.dtype), x, self.channel_dim)

        lines = zip(self.slopes.unbind(1), self.offsets.unbind(1), strict=True)
        z = torch.stack([view(a) * wide + view(b) for a, b in lines])
        return smooth_maximum(z, view(self.beta)).to(x.dtype)

    def extra_repr(self) -> str:
        width, lines = self.slopes.shape
        return f"{width}, lines={lines}, channel_dim={self.channel_dim}"
