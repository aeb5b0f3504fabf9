"""The most memory that tensors hold at once while something runs."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Return the peak of what `run` allocates on top of what was there before.

    On CUDA as the allocator counts it; elsewhere the storages of the tensors that torch's
    operations return, without what an operation takes within itself.
    """
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    live = _Live()
    with live:
        run()
    return live.peak


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of all results that are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        inputs = {id(s) for s in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            # A view, or what was there before: a weight that is transposed.
            if id(storage) not in inputs:
                self._note(storage)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = size
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._now -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [t.untyped_storage() for t in tree_leaves(values) if isinstance(t, Tensor)]
