"""Tracks in which dimension a tensor has its channels, by the functions that produced it.

The shape is not enough: `(N, T, C)` after a linear layer and `(N, C, L)` after a convolution
look alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# Functions whose result has its channels in dimension 1.
_FIRST = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    }
)
# Functions whose result has its channels in the last dimension.
_LAST = frozenset(
    {
        *("linear", "bilinear", "layer_norm", "rms_norm", "embedding", "matmul", "__matmul__"),
        *("__rmatmul__", "bmm", "baddbmm", "scaled_dot_product_attention"),
        "multi_head_attention_forward",
    }
)
# Functions that reorder dimensions, and attributes that do.
_PERMUTING = frozenset(
    {
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"),
        *("T", "mT", "H", "mH"),
    }
)
# Functions that may split or merge dimensions, also at an equal number of them.
_RESHAPING = frozenset({"view", "reshape", "flatten", "unflatten"})


class ChannelTracker:
    """Knows the channel dimension of every tensor in a run of a network."""

    def __init__(self) -> None:
        # Weak, so that the run frees its tensors as usual.
        self._dims = WeakTensorKeyDictionary()

    def channel_dim(self, x: Tensor) -> int:
        """Return 1 for `(N, C, *)`, -1 for channels last; 1 where it is not known."""
        rank = x.dim()
        # For `(N, C)` both are the same dimension; 1 is its usual name.
        if rank == 1 or (rank > 2 and x in self._dims and self._dims[x] == rank - 1):
            return -1
        return 1

    def inherit(self, y: Tensor, x: Tensor) -> None:
        """Let `y` have the channels of `x`, if shapes are equal and nothing is known of `y`."""
        if y not in self._dims and x in self._dims and y.shape == x.shape:
            self._dims[y] = self._dims[x]

    def track(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Note the channel dimension of all tensors in the result of a torch function."""
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
        """Return the channel dimension of `y`, a result of `function`; None if not known."""
        name = _name(function)
        if name in _FIRST:
            return 1
        if name in _LAST:
            return y.dim() - 1
        # The first input that is known: parameters are not.
        x = next((t for t in inputs if t in self._dims), None)
        if x is None:
            return None
        dim: int = self._dims[x]
        if name in _PERMUTING and x is args[0]:
            return _permuted(function, args, kwargs, x.dim(), dim)
        # Elementwise functions, reductions that keep dimensions, and pooling move no dimension.
        if y.dim() == x.dim() and name not in _RESHAPING:
            return dim
        return _reshaped(x, y, dim)


def _name(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the attribute that it gets."""
    # `x.T` reaches a mode as the getter of the attribute.
    name: str = getattr(function, "__name__", "")
    return getattr(function.__self__, "__name__", "") if name == "__get__" else name  # type: ignore[attr-defined]


def _permuted(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    rank: int,
    dim: int,
) -> int:
    """Return where a permuting function puts dimension `dim`."""
    # The function itself permutes a tensor of sizes 1, 2, ...: each size names its dimension,
    # so the many ways to write the arguments need no reading. A meta tensor has no memory.
    sizes = torch.empty(tuple(range(1, rank + 1)), device="meta")
    return list(function(sizes, *args[1:], **kwargs).shape).index(dim + 1)


def _reshaped(x: Tensor, y: Tensor, dim: int) -> int | None:
    """Return the channel dimension after a reshape that kept the channels whole, else None."""
    if dim == x.dim() - 1 and y.dim() > 0 and y.shape[-1] == x.shape[-1]:
        return y.dim() - 1
    if dim == 1 and y.dim() > 1 and y.shape[1] == x.shape[1]:
        return 1
    return None
