"""Padé activation units: quotients of learned polynomials."""

from functools import cache

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.activations.scalar_functions import scalar_function
from search_space.spec import Share

# A start is fitted on [-3, 3], and its weights are corrected ten times.
_REACH = 3.0
_ROUNDS = 10

# At 0 the absolute value of a coefficient has no derivative.
_LEAST = 1e-3


def rational(x: Tensor, numerator: Tensor, denominator: Tensor, channel_dim: int = 1) -> Tensor:
    r"""A quotient of polynomials without poles.

    .. math:: f(x) = \frac{\sum_{i=0}^m a_i x^i}{1 + \sum_{k=1}^n |b_k| |x|^k}

    Args:
        x: `(N, C, *)` for `channel_dim=1`, `(*, C)` for `channel_dim=-1`.
        numerator: The coefficients a from the constant up, `(C, m+1)` or `(1, m+1)`.
        denominator: The coefficients b from the linear one up, `(C, n)` or `(1, n)`.

    Returns:
        The shape and dtype of `x`. Half precisions are computed in float32.

    Raises:
        ValueError: If `x` has another number of channels than the coefficients.

    Source:
        Molina, Schramowski and Kersting, *Padé Activation Units*, 2019.
        https://arxiv.org/abs/1907.06732
    """
    wide = x.to(working_dtype(x))

    def view(coefficients: Tensor) -> list[Tensor]:
        columns = coefficients.to(wide.dtype).unbind(1)
        return [along_channels(column, x, channel_dim) for column in columns]

    above = _polynomial(wide, view(numerator))
    below = wide.abs()
    below = 1 + below * _polynomial(below, view(denominator.abs()))
    return (above / below).to(x.dtype)


def _polynomial(x: Tensor, coefficients: list[Tensor]) -> Tensor:
    """Return the polynomial with these coefficients, the constant first."""
    *lower, highest = coefficients
    y = highest.expand_as(x)
    for coefficient in reversed(lower):
        y = torch.addcmul(coefficient, y, x)
    return y


class Rational(LearnedActivation):
    r"""Padé activation unit with learned coefficients, fitted to the function it starts as.

    .. math:: f(x) = \frac{\sum_{i=0}^m a_i x^i}{1 + \sum_{k=1}^n |b_k| |x|^k}

    Far from 0 it grows with the power m - n.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last.
        share: `layer` for one function, as in the paper; `channel` for one of each channel.
        initial: Name of the catalogue's function of one number that is fitted on [-3, 3].
        numerator: Degree m.
        denominator: Degree n.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Molina, Schramowski and Kersting, *Padé Activation Units*, 2019, in the form with a
        sum of absolute values below. https://arxiv.org/abs/1907.06732
    """

    def __init__(
        self,
        channels: int,
        *,
        channel_dim: int = 1,
        share: Share = "layer",
        initial: str = "leaky_relu",
        numerator: int = 5,
        denominator: int = 4,
    ) -> None:
        super().__init__()
        width = channels if share == "channel" else 1
        above, below = _fitted(initial, numerator, denominator)
        self.channel_dim = channel_dim
        self.numerator = nn.Parameter(torch.tensor(above).repeat(width, 1))
        self.denominator = nn.Parameter(torch.tensor(below).repeat(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return rational(x, self.numerator, self.denominator, self.channel_dim)

    def extra_repr(self) -> str:
        width, terms = self.numerator.shape
        degrees = f"{terms - 1}/{self.denominator.shape[1]}"
        return f"{width}, degrees={degrees}, channel_dim={self.channel_dim}"


@cache
@torch.no_grad()
def _fitted(initial: str, m: int, n: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the coefficients that are nearest to a function, by repeated least squares.

    The error is not linear in the coefficients, but the error times the denominator is. So each
    round fits that product, weighted by the inverse denominator of the round before.
    """
    x = torch.linspace(-_REACH, _REACH, 301, dtype=torch.float64)
    y = scalar_function(initial)(x)
    above = torch.stack([x**i for i in range(m + 1)], 1)
    below = torch.stack([x.abs() ** k for k in range(1, n + 1)], 1)
    # The rounds need not converge, so the best one counts.
    best, weight = (torch.inf, above[0], below[0]), torch.ones_like(x)
    for _ in range(_ROUNDS):
        both = torch.cat([above, -y[:, None] * below], 1) * weight[:, None]
        b = _least_squares(both, y * weight)[m + 1 :].clamp_min(_LEAST)
        divisor = 1 + below @ b
        a = _least_squares(above / divisor[:, None], y)
        weight = 1 / divisor
        error = (above @ a / divisor - y).square().mean().item()
        if error < best[0]:
            best = error, a, b
    return tuple(best[1].tolist()), tuple(best[2].tolist())


def _least_squares(matrix: Tensor, values: Tensor) -> Tensor:
    solution: Tensor = torch.linalg.lstsq(matrix, values[:, None], driver="gelsd").solution
    return solution[:, 0]
