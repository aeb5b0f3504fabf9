"""The functions of a standalone file, which read the tables that the file defines."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search_space.activations.learned import LearnedActivation
from search_space.selfcheck import SelfCheck, outputs
from search_space.spec import Site
from search_space.surgery.placing import isolate_inner_calls, replace_calls

# How the activations of a model start.
Start = Literal["fresh", "learned", "frozen"]

# Every call of an activation in the network, and the constructor of each module that replaces one.
# Each file defines its own.
SITES: tuple[Site, ...] = ()
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {}
# The functions that the network computed at those of them that are functional calls.
ORIGINALS: Mapping[str, Callable[[], nn.Module]] = {}

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def apply(
    model: nn.Module,
    *,
    start: Start = "fresh",
    weights: str | Path | None = None,
    example: Any = None,
) -> nn.Module:
    """Put the activations into `model`, in place, and return it.

    Call this before you make the optimizer: gradients, optimizers and copies that exist already
    do not contain the new parameters. Load weights of the whole network afterwards, with
    `model.load_state_dict(read_weights(path))`.

    Args:
        model: The network that was searched, with its own activations.
        start: `fresh` as the search started them; `learned` with the shapes it found;
            `frozen` with those shapes, which then neither train nor follow the statistics of
            batches: each activation stays the function that the trained network computes in
            evaluation.
        weights: The file `weights.safetensors`; needed unless `start` is `fresh`.
        example: A batch: a tensor, a tuple or list of positional or a mapping of keyword
            arguments. If given, the network runs on it in evaluation: as it is, with its
            original activations at their new places, which must give the same numbers, and
            with the new ones, which must give finite numbers of the same shapes.

    Raises:
        ValueError: If the network lacks a site, or the weights are missing or do not fit.
        ApplyFails: If the check on `example` fails. The network is not to be used any more.
    """
    missing = [site.id for site in SITES if not _reaches(model, site)]
    if missing:
        raise ValueError(f"the network has no site {', '.join(missing)}")
    first = next((p for p in model.parameters() if p.dtype.is_floating_point), torch.zeros(()))
    modules = {id: make().to(first.device, first.dtype) for id, make in ACTIVATIONS.items()}
    self_check = None
    if example is not None:
        run = partial(outputs, model, example)
        self_check = SelfCheck(model, modules, SITES, lambda id: ORIGINALS[id](), run)
    replace_calls(model, modules, SITES)
    # The file does not run the network, so it does not know which modules call functions.
    isolate_inner_calls(model, lambda *_: True)
    if start != "fresh":
        if weights is None:
            raise ValueError(f"to start {start}, name the file of the weights")
        _take_shapes(model, read_weights(weights))
    if start == "frozen":
        for module in _learned(model).values():
            module.freeze()
    if self_check is not None:
        # Last, so that it also checks the loaded shapes.
        self_check.verify()
    return model


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors in a safetensors file.

    The format: eight bytes with the length of a header, the header as JSON, the numbers. Read
    here by hand, so that the file needs torch alone.
    """
    data = bytearray(Path(path).read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            start, end = (begin + offset for offset in entry["data_offsets"])
            dtype = _DTYPES[entry["dtype"]]
            # `frombuffer` refuses an empty buffer.
            flat = torch.frombuffer(data[start:end], dtype=dtype) if end > start else torch.empty(0)
            tensors[name] = flat.to(dtype).reshape(entry["shape"])
    return tensors


def _reaches(model: nn.Module, site: Site) -> bool:
    """Whether the module at a site exists, or the one that calls a function there."""
    known = {path for path, _ in model.named_modules(remove_duplicate=False)}
    return site.place is not None and site.place.path in known


def _take_shapes(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the parameters and statistics of the learned activations alone."""
    for path, module in _learned(model).items():
        prefix = f"{path}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"the weights do not fit {path}: {error}") from None


def _learned(model: nn.Module) -> dict[str, LearnedActivation]:
    named = model.named_modules()
    return {path: module for path, module in named if isinstance(module, LearnedActivation)}
