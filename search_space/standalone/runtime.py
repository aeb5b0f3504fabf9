"""What a standalone file does, with the sites and the activations that it has."""

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
from search_space.surgery.placing import put, shield

# How a model's activations begin.
Start = Literal["fresh", "learned", "frozen"]

# Every call of an activation in the network, and what makes the module for each that changes.
# A file has its own.
SITES: tuple[Site, ...] = ()
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {}
# What the network computed at those of them that are calls of a function.
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

    Do so before the optimizer is made: gradients, optimizers and copies made earlier know
    nothing of the new parameters. Load weights of the whole network afterwards, with
    `model.load_state_dict(read_weights(path))`.

    Args:
        model: The network that was searched, with its own activations.
        start: `fresh` as the search started them; `learned` with the shapes it found;
            `frozen` with those shapes, which then neither train nor follow the batches: each
            activation stays the function that the trained network computes in evaluation.
        weights: The file `weights.safetensors`; needed unless `start` is `fresh`.
        example: A batch: a tensor, a tuple or list of positional or a mapping of keyword
            arguments. Given one, the network runs on it in evaluation: as it is given, with its
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
    check = None
    if example is not None:
        run = partial(outputs, model, example)
        check = SelfCheck(model, modules, SITES, lambda id: ORIGINALS[id](), run)
    put(model, modules, SITES)
    # Whatever runs inside a module whose calls are counted keeps its own calls to itself.
    shield(model, lambda *_: True)
    if start != "fresh":
        if weights is None:
            raise ValueError(f"to start {start}, name the file of the weights")
        _take_shapes(model, read_weights(weights))
    if start == "frozen":
        for module in _learned(model).values():
            module.freeze()
    if check is not None:
        check()
    return model


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors in a safetensors file.

    The format: eight bytes with the length of a header, the header as JSON, the numbers.
    """
    data = bytearray(Path(path).read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            start, end = (begin + offset for offset in entry["data_offsets"])
            dtype = _DTYPES[entry["dtype"]]
            flat = torch.frombuffer(data[start:end], dtype=dtype) if end > start else torch.empty(0)
            tensors[name] = flat.to(dtype).reshape(entry["shape"])
    return tensors


def _reaches(model: nn.Module, site: Site) -> bool:
    """Whether the module at a site, or the one that calls a function there, exists."""
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
