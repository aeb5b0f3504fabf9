"""How the work of a Triton kernel is divided among programs."""

from typing import Any

import triton.language as tl
from torch import Tensor

# Programs that keep a large device busy, and blocks that make a program worth its start.
_PROGRAMS = 4096
_BLOCKS = 4


def parts(elements: int, rows: int, block: int) -> tuple[int, int]:
    """Cut the `elements` of each of `rows` rows into parts, each for one program.

    Returns:
        The size of a part, a multiple of `block`, and the number of parts: at least 1.
    """
    wanted = max(1, _PROGRAMS // max(1, rows))
    blocks = max(_BLOCKS, -(-elements // (wanted * block)))
    return blocks * block, max(1, -(-elements // (blocks * block)))


def index_type(x: Tensor) -> Any:
    """Return the type of index that reaches all of `x`: the narrower one divides much faster."""
    return tl.int64 if x.numel() >= 2**31 else tl.int32
