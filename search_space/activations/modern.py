"""Fixed functions that torch lacks. All take any shape and strides, and keep the dtype.

Half precisions are computed in float32.
"""

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import working_dtype

# Beyond this, exp(x) is so large that its hyperbolic tangent is 1 in float64.
_TELU_LARGE = 20.0

# exp of this, and its square, are finite in float32; exp(-exp(this)) is 0 in float64.
_GOLU_LARGE = 40.0


class FixedSwish(nn.Module):
    r"""Swish with a fixed switch.

    .. math:: f(x) = x \, \sigma(\beta x)

    Args:
        beta: Sharpness of the switch: 0 gives `x / 2`, 1 is SiLU, infinity would be ReLU.

    Source:
        Ramachandran, Zoph and Le, *Searching for Activation Functions*, 2017.
        https://arxiv.org/abs/1710.05941
    """

    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        return (wide * torch.sigmoid(self.beta * wide)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class TeLU(nn.Module):
    r"""Tangent-exponential unit: linear above 0, and 0 far below it.

    .. math:: f(x) = x \tanh(e^x)

    Source:
        Fernandez and Mali, *TeLU Activation Function for Fast and Stable Deep Learning*, 2024.
        https://arxiv.org/abs/2412.20269
    """

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        return (wide * torch.tanh(wide.clamp_max(_TELU_LARGE).exp())).to(x.dtype)


class GoLU(nn.Module):
    r"""The input times a gate: Gompertz's curve, steeper below its middle than above.

    .. math:: f(x) = x \alpha e^{-\beta e^{-\gamma x}}

    Args:
        alpha: Limit of the gate, above 0.
        beta: Where the gate opens, above 0.
        gamma: How fast the gate opens, above 0.

    Source:
        Das et al., *Gompertz Linear Units*, 2025. https://arxiv.org/abs/2502.03654
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        inner = (-self.gamma * wide).clamp_max(_GOLU_LARGE).exp()
        return (self.alpha * wide * torch.exp(-self.beta * inner)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, gamma={self.gamma}"


class ReLUSquared(nn.Module):
    r"""The square of the rectifier; its slope is 0 at 0 and grows without bound.

    .. math:: f(x) = \max(x, 0)^2

    Source:
        So et al., *Primer: Searching for Efficient Transformers for Language Modeling*, 2021.
        https://arxiv.org/abs/2109.08668
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().square()
