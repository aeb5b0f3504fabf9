"""Activations with a period."""

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.spec import Share


class Sine(nn.Module):
    r"""The sine of SIREN, for networks that represent a signal.

    .. math:: f(x) = \sin(\omega x)

    The paper uses it with its own initial weights, U(-sqrt(6 / n) / omega, +) after the first
    layer; with weights for ReLU and omega = 30 the input of later layers is noise.

    Args:
        omega: Frequency, above 0.

    Shape:
        - Input: `(*)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Source:
        Sitzmann et al., *Implicit Neural Representations with Periodic Activation Functions*,
        2020. https://arxiv.org/abs/2006.09661
    """

    def __init__(self, *, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * x.to(working_dtype(x))).to(x.dtype)

    def extra_repr(self) -> str:
        return f"omega={self.omega}"


def snake(x: Tensor, a: Tensor, channel_dim: int = 1) -> Tensor:
    r"""Snake: the identity plus a wave, `x + sin(a x)^2 / a`.

    At `a = 0` it is the limit, the identity.

    Args:
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.
        a: `(C,)`, `(1,)` or a scalar.

    Returns:
        The shape and dtype of `x`. Half precisions are computed in float32.

    Raises:
        ValueError: If `x` has another number of channels than `a`.

    Source:
        Ziyin, Hartwig and Ueda, *Neural Networks Fail to Learn Periodic Functions and How to
        Fix It*, 2020, equation 3. https://arxiv.org/abs/2006.08195
    """
    wide = x.to(working_dtype(x))
    angle = wide * along_channels(a.to(wide.dtype), x, channel_dim)
    # sin(u) / a = x sin(u) / u, which does not divide by a.
    return (wide + wide * torch.sin(angle) * torch.sinc(angle / torch.pi)).to(x.dtype)


class Snake(LearnedActivation):
    r"""Snake with a learned frequency.

    .. math:: f(x) = x + \sin^2(a x) / a

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for a frequency of each channel, `layer` for one.
        frequency: First value of a.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ziyin, Hartwig and Ueda, *Neural Networks Fail to Learn Periodic Functions and How to
        Fix It*, 2020. https://arxiv.org/abs/2006.08195
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        frequency: float = 1.0,
    ) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.a = nn.Parameter(torch.full((channels if share == "channel" else 1,), frequency))

    def forward(self, x: Tensor) -> Tensor:
        return snake(x, self.a, self.channel_dim)

    def extra_repr(self) -> str:
        return f"{self.a.numel()}, channel_dim={self.channel_dim}"
