"""PWLU's table for the CPU kernels, and the gradients of its parameters."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_space.activations.pwlu_table import MIN_WIDTH
from search_space.kernels.jit import compiled

# Values, outer slopes, bounds.
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

# The largest table that two vectors hold.
VECTOR_ROWS = 32


class PaddedTable(NamedTuple):
    """PWLU as rows `y = slope * x + offset`: row 0 left of the knots, the last row right of them.

    The row of `x` is `floor(scale * x + shift)`, clamped. Rows are padded to `VECTOR_ROWS`.

    Attributes:
        last: Index of the last row that is used.
    """

    slope: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    last: int

    @staticmethod
    def of(parameters: Parameters, dtype: torch.dtype) -> "PaddedTable":
        """Return the table in the given dtype.

        Raises:
            ValueError: If the parameters differ in their numbers of channels.
        """
        arrays = [p.to(dtype).contiguous().numpy() for p in parameters]
        width, knots = arrays[0].shape
        if any(array.shape != (width,) for array in arrays[1:]):
            shapes = [tuple(p.shape) for p in parameters]
            raise ValueError(f"the parameters must be of as many channels, got {shapes}")
        rows = max(VECTOR_ROWS, knots + 1)
        slope, offset = (np.zeros((width, rows), arrays[0].dtype) for _ in range(2))
        scale, shift = (np.empty(width, arrays[0].dtype) for _ in range(2))
        _tabulate(*arrays, slope, offset, scale, shift)
        return PaddedTable(slope, offset, scale, shift, knots)


@compiled()
def _tabulate(values, left_slope, right_slope, left, right, slope, offset, scale, shift):
    one, least = values.dtype.type(1), values.dtype.type(MIN_WIDTH)
    segments = values.shape[1] - 1
    for c in range(values.shape[0]):
        # Bounds may cross in training.
        width = right[c] - left[c]
        step = (least if width < least else width) / values.dtype.type(segments)
        slope[c, 0] = left_slope[c]
        offset[c, 0] = values[c, 0] - left_slope[c] * left[c]
        for i in range(segments + 1):
            knot = values.dtype.type(i) * step + left[c]
            inner = i < segments
            slope[c, i + 1] = (values[c, i + 1] - values[c, i]) / step if inner else right_slope[c]
            offset[c, i + 1] = values[c, i] - slope[c, i + 1] * knot
        scale[c] = one / step
        shift[c] = one - left[c] / step


@compiled()
def differentiate(sums, slope, scale, rows, d_values, d_left_slope, d_right_slope, d_left, d_right):
    """Write the gradients of the parameters, from the sums over each row of the table.

    These are the formulas of `pwlu_table.parameter_gradients`: the sums of `g` and `g t` are
    enough, with `t` the place within the interval.
    """
    segments = rows - 2
    for c in range(scale.size):
        # In the order of the chunks, so that equal inputs give equal bits.
        both = sums[0, c].copy()
        for chunk in range(1, sums.shape[0]):
            both += sums[chunk, c]
        total, moment = both[0::2], both[1::2]
        step = 1 / np.float64(scale[c])
        near, far, after = 0.0, 0.0, total[0]
        for i in range(segments):
            part = moment[i + 1]
            d_values[c, i] = after + total[i + 1] - part
            after = part
            # (x - left) / (right - left), and the rest to 1, weighted by g times the slope.
            share = (i * total[i + 1] + part) / segments * slope[c, i + 1]
            far += share
            near += total[i + 1] * slope[c, i + 1] - share
        d_values[c, segments] = after + total[rows - 1]
        # Left of the knots `x` counts from the first knot, which is at position 1.
        d_left_slope[c] = step * (moment[0] - total[0])
        d_right_slope[c] = step * moment[rows - 1]
        d_left[c] = -slope[c, 0] * total[0] - near
        d_right[c] = -slope[c, rows - 1] * total[rows - 1] - far
