"""What a learned curve is like: the nearest of the classic functions, and how straight it is."""

from typing import Any

import torch
from torch import Tensor

from search_space.activations.starts import scalar_function

CLASSICS = (
    *("relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "mish", "hardswish"),
    *("tanh", "sigmoid"),
)


def likeness(x: Tensor, curves: Tensor, inputs: Tensor | None) -> dict[str, Any]:
    """Return the classic function nearest to curves, and how well a straight line fits them.

    Near means: up to a factor and an offset of its output, weighted by how often the site's
    inputs are there. The quality of a fit is R², the share of the curve's weighted variance that
    it explains; curves of several channels are fitted each by itself, and their R² averaged. A
    curve without variance is a straight line.

    Args:
        x: The grid, `(P,)`.
        curves: `(channels, P)`.
        inputs: Of the site; None: every point of the grid counts the same.

    Returns:
        `nearest` and its `nearest_r2`, and `line_r2`.
    """
    grid, curves = x.double().cpu(), curves.double().cpu()
    weights = _weights(grid, inputs)
    line = _explained(grid, curves, weights)
    fits = {name: _explained(scalar_function(name)(grid), curves, weights) for name in CLASSICS}
    nearest = max(fits, key=lambda name: fits[name])
    return {
        "nearest": nearest,
        "nearest_r2": round(fits[nearest], 4),
        "line_r2": round(line, 4),
    }


def _weights(grid: Tensor, inputs: Tensor | None) -> Tensor:
    """Return how often the inputs are next to each point of the grid; what is beyond counts."""
    if inputs is None or not inputs.numel():
        return torch.ones_like(grid)
    values = inputs.detach().double().flatten().cpu()
    values = values[values.isfinite()]
    step = grid[1] - grid[0]
    nearest = ((values - grid[0]) / step).round().clamp(0, len(grid) - 1).long()
    return torch.bincount(nearest, minlength=len(grid)).double()


def _explained(basis: Tensor, curves: Tensor, weights: Tensor) -> float:
    """Return the mean R² of the best `a basis + b`, at most 1 and at least 0."""
    weights = weights / weights.sum().clamp_min(1)
    basis = basis - (weights * basis).sum()
    curves = curves - (weights * curves).sum(1, keepdim=True)
    power = (weights * basis**2).sum()
    variance = (weights * curves**2).sum(1)
    if not power > 0:
        # The inputs do not tell the function from a constant.
        return float((variance <= 0).double().mean())
    shared = (weights * basis * curves).sum(1) ** 2 / power
    r2 = torch.where(variance > 0, shared / variance.clamp_min(1e-300), torch.ones_like(variance))
    return float(r2.clamp(0, 1).mean())
