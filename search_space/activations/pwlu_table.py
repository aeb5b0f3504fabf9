"""PWLU as a table of lines, and the gradients of its parameters from sums over the rows."""

from typing import NamedTuple

import torch
from torch import Tensor

# Bounds may cross in training; then the intervals are this wide in total.
MIN_WIDTH = 1e-3


class Table(NamedTuple):
    """PWLU as rows `y = slope * x + offset`: row 0 left of the knots, row N+1 right of them.

    The row of `x` is `floor(scale * x + shift)`, clamped. All in the dtype of the maths.
    """

    slope: Tensor  # (C, N+2)
    offset: Tensor  # (C, N+2)
    scale: Tensor  # (C, 1), the inverse of the interval
    shift: Tensor  # (C, 1)


def tabulate(
    values: Tensor, left_slope: Tensor, right_slope: Tensor, left: Tensor, right: Tensor
) -> Table:
    """Return PWLU as rows of lines; the arguments are those of `pwlu`."""
    segments = values.shape[1] - 1
    width = (right - left).clamp_min(MIN_WIDTH)
    step = (width / segments).unsqueeze(1)
    inner = values.diff(dim=1) / step
    slope = torch.cat([left_slope.unsqueeze(1), inner, right_slope.unsqueeze(1)], dim=1)
    knots = torch.arange(segments + 1, device=values.device) * step + left.unsqueeze(1)
    offset = line_offsets(slope, knots, values)
    return Table(slope, offset, 1 / step, 1 - left.unsqueeze(1) / step)


def line_offsets(slope: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return the offsets `(C, N+2)` of the rows of lines through the knots.

    Args:
        slope: `(C, N+2)`.
        knots: `(C, N+1)`.
        values: The function's values at the knots, `(C, N+1)`.
    """
    # Rows 0 and 1 meet in the first knot; every other row starts in its own.
    origin, start = (torch.cat([t[:, :1], t], dim=1) for t in (knots, values))
    return start - slope * origin


def parameter_gradients(
    total: Tensor, moment: Tensor, table: Table, values: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of all parameters, from two sums over each row of the table.

    Args:
        total: Sum of the output's gradient `g`, `(C, N+2)`.
        moment: Sum of `g` times the position counted from the row's index, `(C, N+2)`.

    With `t` the place within the interval, from 0 to 1, `y = Y_i + t (Y_{i+1} - Y_i)`. Bounds
    change `y` through `t` alone, so the formulas need only the sums of `g` and `g t`.
    """
    segments = values.shape[1] - 1
    index = torch.arange(segments, device=values.device, dtype=values.dtype)
    # Left of the knots `x` counts from the first knot, which is at position 1.
    before = moment[:, 0] - total[:, 0]
    inside, inside_part = total[:, 1:-1], moment[:, 1:-1]
    d_values = torch.cat([total[:, :1], inside_part], dim=1)
    d_values += torch.cat([inside - inside_part, total[:, -1:]], dim=1)
    step = 1 / table.scale[:, 0]
    # Sum of (x - left) / (right - left), weighted by g times the slope, over the inner rows.
    far = ((index * inside + inside_part) / segments * table.slope[:, 1:-1]).sum(1)
    near = (inside * table.slope[:, 1:-1]).sum(1) - far
    d_left = -table.slope[:, 0] * total[:, 0] - near
    d_right = -table.slope[:, -1] * total[:, -1] - far
    return d_values, step * before, step * moment[:, -1], d_left, d_right
