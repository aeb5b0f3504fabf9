"""Divides the work of a Triton kernel among programs."""

from typing import Any

import triton.language as tl
from torch import Tensor

# Enough programs to use all of a large device, and enough blocks to pay for starting a program.
_PROGRAMS = 4096
_BLOCKS = 4


def parts(elements: int, rows: int, block: int) -> tuple[int, int]:
    """Cut the `elements` of each of `rows` rows into parts, one for each program.

    Returns:
        The size of a part, a multiple of `block`, and the number of parts: at least 1.
    """
    wanted = max(1, _PROGRAMS // max(1, rows))
    blocks = max(_BLOCKS, -(-elements // (wanted * block)))
    return blocks * block, max(1, -(-elements // (blocks * block)))


def index_type(x: Tensor) -> Any:
    """Return the narrowest index type that reaches all of `x`: int32 divides much faster."""
    return tl.int64 if x.numel() >= 2**31 else tl.int32
