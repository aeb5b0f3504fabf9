"""The peak memory of a training step: the most memory that tensors hold at once."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from search_space.contract import Form
from search_space.sites import arguments
from workers.errors import NotMeasurable
from workers.measurement.form import autocast, device_of


def training_bytes(network: nn.Module, batch: Any, form: Form) -> int:
    """Return the peak bytes of a step: weights, gradients, and what the passes keep.

    Raises:
        NotMeasurable: If no output depends on a parameter that is trained.
    """
    device = device_of(network)
    network.train()
    network.zero_grad(set_to_none=True)
    args, kwargs = arguments(batch)

    def step() -> None:
        with autocast(device, form):
            outputs = network(*args, **kwargs)
        # Any loss will do: that of the task needs little memory compared to the network.
        losses = [
            y.float().square().mean()
            for y in tree_leaves(outputs)
            if isinstance(y, Tensor) and y.requires_grad
        ]
        if not losses:
            raise NotMeasurable("the network's outputs depend on no parameter that learns")
        torch.autograd.backward(losses)

    weights = sum(t.nbytes for t in (*network.parameters(), *network.buffers()))
    try:
        return weights + peak_bytes(step, device)
    finally:
        # The gradients would stay in memory as long as the network does.
        network.zero_grad(set_to_none=True)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Return the peak bytes that `run` allocates in addition to what was there before.

    On CUDA as its allocator counts them. Elsewhere, the storages of the tensors that torch's
    operations return, without the memory that an operation uses internally.
    """
    # Garbage that is collected during the run would be subtracted from it.
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    live = _LiveStorages()
    with live:
        run()
    return live.peak


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of all results that still exist."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        # Weak, so that this object keeps no storage alive; by id, since storages have no hash.
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        inputs = {id(s) for s in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            # A view shares the storage of its input, which may be a weight from before the run.
            if id(storage) not in inputs:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
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
