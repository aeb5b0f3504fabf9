"""Where the channels of a tensor are, told from what has produced it.

The shape cannot tell: `(N, T, C)` after a linear layer and `(N, C, L)` after a convolution
look alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# Functions that leave the channels in dimension 1, and in the last dimension.
_FIRST = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    }
)
_LAST = frozenset(
    {
        *("linear", "bilinear", "layer_norm", "rms_norm", "embedding", "matmul", "__matmul__"),
        *("__rmatmul__", "bmm", "baddbmm", "scaled_dot_product_attention"),
        "multi_head_attention_forward",
    }
)
_PERMUTING = frozenset(
    {
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"),
        *("T", "mT", "H", "mH"),
    }
)
_RESHAPING = frozenset({"view", "reshape", "flatten", "unflatten"})


class Layouts:
    """Follows the channel dimension of every tensor through a run of a network."""

    def __init__(self) -> None:
        self._dims = WeakTensorKeyDictionary()

    def channel_dim(self, x: Tensor) -> int:
        """Return 1 for `(N, C, *)`, -1 for channels last; 1 where nothing tells."""
        rank = x.dim()
        if rank == 1 or (rank > 2 and x in self._dims and self._dims[x] == rank - 1):
            return -1
        return 1

    def inherit(self, y: Tensor, x: Tensor) -> None:
        """Let `y` have the layout of `x`, if it is of the same shape and has none yet."""
        if y not in self._dims and x in self._dims and y.shape == x.shape:
            self._dims[y] = self._dims[x]

    def follow(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Note the layout of all tensors in the result of a torch function."""
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        for y in tree_leaves(result):
            if isinstance(y, Tensor):
                dim = self._result_dim(function, inputs, args, kwargs, y)
                if dim is not None:
                    self._dims[y] = dim

    def _result_dim(
        self,
        function: Callable[..., Any],
        inputs: list[Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        y: Tensor,
    ) -> int | None:
        name = _name(function)
        if name in _FIRST:
            return 1
        if name in _LAST:
            return y.dim() - 1
        x = next((t for t in inputs if t in self._dims), None)
        if x is None:
            return None
        dim: int = self._dims[x]
        if name in _PERMUTING and x is args[0]:
            return _permuted(function, args, kwargs, x.dim(), dim)
        if y.dim() == x.dim() and name not in _RESHAPING:
            return dim
        return _reshaped(x, y, dim)


def _name(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the attribute that it gets."""
    name: str = getattr(function, "__name__", "")
    return getattr(function.__self__, "__name__", "") if name == "__get__" else name  # type: ignore[attr-defined]


def _permuted(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    rank: int,
    dim: int,
) -> int:
    """Return where a permuting function puts dimension `dim`, by permuting sizes that differ."""
    sizes = torch.empty(tuple(range(1, rank + 1)), device="meta")
    return list(function(sizes, *args[1:], **kwargs).shape).index(dim + 1)


def _reshaped(x: Tensor, y: Tensor, dim: int) -> int | None:
    """Return the channel dimension after a reshape that left the channels whole, else None."""
    if dim == x.dim() - 1 and y.dim() > 0 and y.shape[-1] == x.shape[-1]:
        return y.dim() - 1
    if dim == 1 and y.dim() > 1 and y.shape[1] == x.shape[1]:
        return 1
    return None
