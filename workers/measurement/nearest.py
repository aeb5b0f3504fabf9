"""Which classic function a learned curve is most similar to, and how linear it is."""

from typing import Any

import torch
from torch import Tensor

from search_space.activations.scalar_functions import scalar_function

CLASSICS = (
    *("relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "mish", "hardswish"),
    *("tanh", "sigmoid"),
)


def likeness(x: Tensor, curves: Tensor, inputs: Tensor | None) -> dict[str, Any]:
    """Return the classic function nearest to curves, and how well a straight line fits them.

    The fit is a least-squares one of a factor and an offset of the function's output, weighted by
    how often the site's inputs occur. Its quality is R², the fraction of the curve's weighted
    variance that it explains. The curves of several channels are fitted separately, and their R²
    averaged. A curve without variance counts as a straight line.

    Args:
        x: The grid, `(P,)`.
        curves: `(channels, P)`.
        inputs: Of the site; None: all points of the grid have equal weights.

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
    """Return how many inputs are nearest to each point; those beyond the grid count at its ends."""
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
        # On these inputs the function is constant.
        return float((variance <= 0).double().mean())
    shared = (weights * basis * curves).sum(1) ** 2 / power
    r2 = torch.where(variance > 0, shared / variance.clamp_min(1e-300), torch.ones_like(variance))
    return float(r2.clamp(0, 1).mean())
