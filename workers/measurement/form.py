"""The form in which networks are measured: batch, number format, device."""

import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from search_space.contract import Form, Measuring


def form_of(measuring: Measuring, model: nn.Module, example_batch: Any, *, fused: bool) -> Form:
    """Return the form in which a search wants `model` to be measured."""
    device = device_of(model)
    return Form(
        batch=measuring.batch or samples_in(example_batch),
        dtype=measuring.dtype,
        compiled=measuring.compiled,
        folded=measuring.folded,
        fused=fused,
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == "cpu" else 0,
    )


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's parameters; the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def device_name(device: torch.device) -> str:
    """Return the model of a device, which is equal on equal machines."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {processor_name()}"


def processor_name() -> str:
    """Return the model of the processor."""
    # `platform.processor()` gives only the architecture on Linux, or nothing.
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def samples_in(batch: Any) -> int:
    """Return the size of a batch: the first dimension of its first tensor."""
    first = next((t for t in tree_leaves(batch) if isinstance(t, Tensor) and t.dim()), None)
    return 1 if first is None else max(1, first.shape[0])


def resized(batch: Any, size: int) -> Any:
    """Return the batch cut or repeated to `size` samples."""
    samples = samples_in(batch)
    if size == samples:
        return batch

    def cut(x: Tensor) -> Tensor:
        # A tensor of another length is no list of samples, but for example a mask for all.
        if not x.dim() or x.shape[0] != samples:
            return x
        return x[torch.arange(size, device=x.device) % samples]

    return tree_map_only(Tensor, cut, batch)


def autocast(device: torch.device, form: Form) -> AbstractContextManager[Any]:
    """Return a context in which networks compute in the form's number format."""
    if form.dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, form.dtype))
