"""The core unit of the search for Swish: a binary function of two unary functions."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation, keep_in_graph
from search_space.spec import Share

# Added under roots and logarithms; a divisor is moved away from 0 by it.
EPSILON = 1e-3

# Exponents are at most this, so that products of two exponentials stay finite.
MAX_EXPONENT = 20.0

Unary = Callable[[Tensor, Tensor], Tensor]
Binary = Callable[[Tensor, Tensor, Tensor], Tensor]


def _bounded(x: Tensor) -> Tensor:
    return x.clamp(-MAX_EXPONENT, MAX_EXPONENT)


def _away_from_zero(x: Tensor) -> Tensor:
    """Return `x` moved away from 0 by `EPSILON`, without changing its sign."""
    return x + torch.where(x < 0, -EPSILON, EPSILON)


UNARY: Mapping[str, Unary] = {
    "identity": lambda x, _: x,
    "negative": lambda x, _: -x,
    "absolute": lambda x, _: x.abs(),
    "square": lambda x, _: x.square(),
    "cube": lambda x, _: x**3,
    "sqrt": lambda x, _: (x.abs() + EPSILON).sqrt(),
    "scale": lambda x, beta: beta * x,
    "shift": lambda x, beta: x + beta,
    "log": lambda x, _: (x.abs() + EPSILON).log(),
    "exp": lambda x, _: _bounded(x).exp(),
    "sin": lambda x, _: x.sin(),
    "cos": lambda x, _: x.cos(),
    "sinh": lambda x, _: _bounded(x).sinh(),
    "cosh": lambda x, _: _bounded(x).cosh(),
    "tanh": lambda x, _: x.tanh(),
    "asinh": lambda x, _: x.asinh(),
    "atan": lambda x, _: x.atan(),
    "sinc": lambda x, _: torch.sinc(x / torch.pi),
    "positive": lambda x, _: x.clamp_min(0),
    "negative_part": lambda x, _: x.clamp_max(0),
    "sigmoid": lambda x, _: x.sigmoid(),
    "softplus": lambda x, _: nn.functional.softplus(x),
    "gaussian": lambda x, _: torch.exp(-x.square()),
    "erf": lambda x, _: x.erf(),
    # `where` keeps the input in the graph, and NaN as NaN.
    "constant": lambda x, beta: torch.where(x.isnan(), x, beta),
}
"""The 25 functions of one input and a learned beta, by name."""

BINARY: Mapping[str, Binary] = {
    "add": lambda a, b, _: a + b,
    "multiply": lambda a, b, _: a * b,
    "subtract": lambda a, b, _: a - b,
    "divide": lambda a, b, _: a / _away_from_zero(b),
    "maximum": lambda a, b, _: torch.maximum(a, b),
    "minimum": lambda a, b, _: torch.minimum(a, b),
    "gate": lambda a, b, _: a.sigmoid() * b,
    "near_square": lambda a, b, beta: (-beta * (a - b).square()).clamp_max(MAX_EXPONENT).exp(),
    "near_absolute": lambda a, b, beta: (-beta * (a - b).abs()).clamp_max(MAX_EXPONENT).exp(),
    "mix": lambda a, b, beta: beta * a + (1 - beta) * b,
}
"""The 10 functions of two inputs and a learned beta, by name."""


class Composed(LearnedActivation):
    r"""A binary function of two unary functions of the input.

    .. math:: f(x) = b(u_1(x), u_2(x))

    Each of the three has a learned beta, which starts at 1 and has a gradient of zero where
    its function does not use it. Outside their domains the functions are guarded: roots and
    logarithms are of `|x| + 0.001`, exponents stay within 20, and a divisor is moved 0.001
    away from 0.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `channel` for betas of each channel, as in the paper; `layer` for one set.
        binary: Name of b, one of `BINARY`.
        first: Name of `u_1`, one of `UNARY`.
        second: Name of `u_2`, one of `UNARY`.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Ramachandran, Zoph and Le, *Searching for Activation Functions*, 2017, section 2.
        https://arxiv.org/abs/1710.05941
        The guards of its functions are our own choice.
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "channel",
        binary: str = "multiply",
        first: str = "identity",
        second: str = "sigmoid",
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        self.channel_dim = channel_dim
        self.names = (binary, first, second)
        self.beta_binary = nn.Parameter(torch.ones(width))
        self.beta_first = nn.Parameter(torch.ones(width))
        self.beta_second = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        parameters = (self.beta_binary, self.beta_first, self.beta_second)
        betas = [along_channels(p.to(wide.dtype), x, self.channel_dim) for p in parameters]
        binary, first, second = self.names
        one, other = UNARY[first](wide, betas[1]), UNARY[second](wide, betas[2])
        y = BINARY[binary](one, other, betas[0])
        # Not all three functions use their beta.
        return keep_in_graph(y.to(x.dtype), *parameters)

    def extra_repr(self) -> str:
        binary, first, second = self.names
        return f"{binary}({first}, {second}), {self.beta_first.numel()}"
