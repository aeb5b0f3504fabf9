"""A piecewise linear unit whose intervals have learned widths."""

from typing import Any

import torch
from torch import Tensor, nn

from search_space.activations.broadcasting import require_channels, working_dtype
from search_space.activations.pwlu import PWLU
from search_space.activations.pwlu_table import MIN_WIDTH, line_offsets


class FreePWLU(PWLU):
    r"""PWLU on intervals whose widths are learned with the values at their ends.

    .. math::
        f(x) = Y_i + (x - B_i) \frac{Y_{i+1} - Y_i}{B_{i+1} - B_i} \text{ for }
        B_i \le x < B_{i+1}, \quad B_{i+1} - B_i = (B_N - B_0) \operatorname{softmax}(w)_i

    Outside the bounds it has outer slopes of its own. Phases, start and arguments are those of
    `PWLU`; it computes the same until the widths `w`, which start at 0, change.

    Args:
        channels: Size of the input's dimension `channel_dim`.
        segments: Number N of intervals between the bounds.
        **options: As for `PWLU`.

    Shape:
        - Input: `(N, C, *)` or `(*, C)`, any floating dtype, any strides.
        - Output: the input's shape and dtype. Half precisions are computed in float32.

    Raises:
        ValueError: If the input has another number of channels.

    Source:
        Our own reading of non-uniform intervals, after the title and abstract of Zhu and Dong,
        *N-PWLU*, 2022, doi 10.1109/ICPR56361.2022.9956345, whose formula was not available to us.
    """

    def __init__(self, channels: int, *, segments: int = 16, **options: Any) -> None:
        super().__init__(channels, segments=segments, **options)
        self.widths = nn.Parameter(torch.zeros(self.values.shape[0], segments))

    def knots(self) -> Tensor:
        """Return the ends of the intervals, `(C, N+1)` or `(1, N+1)`."""
        left = self.left.unsqueeze(1)
        width = (self.right.unsqueeze(1) - left).clamp_min(MIN_WIDTH)
        inner = left + width * torch.softmax(self.widths, 1).cumsum(1)
        return torch.cat([left, inner], 1)

    def _compute(self, x: Tensor) -> Tensor:
        dtype = working_dtype(x)
        require_channels(self.values.shape[0], x, self.channel_dim)
        channels = x.shape[self.channel_dim]
        knots, values = self.knots().to(dtype), self.values.to(dtype)
        outer = [slope.to(dtype).unsqueeze(1) for slope in (self.left_slope, self.right_slope)]
        slopes = torch.cat([outer[0], values.diff(dim=1) / knots.diff(dim=1), outer[1]], 1)
        offsets = line_offsets(slopes, knots, values)
        moved = x.to(dtype).movedim(self.channel_dim, -1)
        flat = moved.reshape(-1, channels)
        # Intervals differ, so the row is the number of knots at or left of the input. Detached:
        # a row is an index, and the gradient of the knots comes through the slopes.
        row = torch.zeros_like(flat, dtype=torch.int64)
        for knot in knots.detach().unbind(1):
            row += flat >= knot
        slope, offset = (t.expand(channels, -1).t().gather(0, row) for t in (slopes, offsets))
        y = torch.addcmul(offset, slope, flat).view(moved.shape)
        return y.movedim(-1, self.channel_dim).to(x.dtype)
