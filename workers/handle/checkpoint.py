"""Checkpoints: one safetensors file, with tensors by name and everything else as JSON. No pickle.

A state (of an optimizer, a scheduler, anything with a `state_dict`) becomes a JSON tree in the
file's metadata. In it, every tensor is replaced by the name that it has in the file.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from workers.errors import BadWeights, NotCheckpointable, UnreadableCheckpoint
from workers.handle.protocol import Stateful

_VERSION = "1"
_Tensors = dict[str, Tensor]


def save(
    model: nn.Module,
    optimizer: Optimizer,
    others: Sequence[Stateful],
    progress: Mapping[str, Any],
) -> bytes:
    """Return the file: `model.*`, `optimizer.<parameter name>.*`, `others.<index>.*`.

    Args:
        progress: Plain data of the caller, such as the epoch.
    """
    tensors: _Tensors = {}
    tree = {
        "model": _freeze(model.state_dict(), "model", tensors),
        "optimizer": _freeze(_states(optimizer, model), "optimizer", tensors),
        "groups": _freeze(_groups(optimizer), "groups", tensors),
        "others": [
            _freeze(other.state_dict(), f"others.{index}", tensors)
            for index, other in enumerate(others)
        ],
        "progress": dict(progress),
    }
    return save_tensors(tensors, {"version": _VERSION, "state": json.dumps(tree)})


def restore(
    data: bytes, model: nn.Module, optimizer: Optimizer, others: Sequence[Stateful]
) -> dict[str, Any]:
    """Load the saved states into the objects, and return the caller's `progress`.

    Raises:
        UnreadableCheckpoint: If its version is not the one of this module.
    """
    tensors = load_tensors(data)
    metadata = _metadata(data)
    if metadata.get("version") != _VERSION:
        raise UnreadableCheckpoint(metadata.get("version"), _VERSION)
    tree = json.loads(metadata["state"])
    model.load_state_dict(_thaw(tree["model"], tensors))
    states, groups = _thaw(tree["optimizer"], tensors), _thaw(tree["groups"], tensors)
    optimizer.load_state_dict(_by_index(states, groups, optimizer, model))
    for other, state in zip(others, tree["others"], strict=True):
        other.load_state_dict(_thaw(state, tensors))
    progress: dict[str, Any] = tree["progress"]
    return progress


def weights(model: nn.Module) -> bytes:
    """Return the tensors of the model's state as a safetensors file."""
    state = model.state_dict()
    return save_tensors(
        {name: _copy(value) for name, value in state.items() if isinstance(value, Tensor)}
    )


def load_weights(data: bytes, model: nn.Module) -> None:
    """Load what `weights` returned for an equal network into `model`.

    Raises:
        BadWeights: If it is no safetensors file, or that of another network.
    """
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise BadWeights(f"they are no safetensors file: {error}") from error
    state = {k: v for k, v in model.state_dict().items() if isinstance(v, Tensor)}
    faults = {
        "missing": [name for name in state if name not in tensors],
        "not of this network": [name for name in tensors if name not in state],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)}, not {tuple(here.shape)}"
            for name, here in state.items()
            if name in tensors and tensors[name].shape != here.shape
        ],
    }
    if any(faults.values()):
        sentences = (f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise BadWeights("; ".join(sentences))
    # Checked above. Not strict, since a state may also hold values that are no tensors.
    model.load_state_dict(tensors, strict=False)


def _metadata(data: bytes) -> dict[str, str]:
    # The header of the format: its length in 8 bytes, then JSON. The library reads metadata
    # only from files, and this checkpoint came over HTTP.
    length = int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, str]] = json.loads(data[8 : 8 + length])
    return header.get("__metadata__", {})


def _names(optimizer: Optimizer, model: nn.Module) -> dict[int, str]:
    """Return a name for every parameter of the optimizer, by id of the parameter."""
    # Names, not positions: they stay what they are when parameter groups are in another order.
    # A parameter that is not the model's, such as one of a loss, has its position.
    known = {id(p): name for name, p in model.named_parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return {id(p): known.get(id(p), f"#{index}") for index, p in enumerate(held)}


def _states(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    names = _names(optimizer, model)
    return {names[id(p)]: state for p, state in optimizer.state.items() if state}


def _groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]


def _by_index(
    states: dict[str, Any],
    groups: list[dict[str, Any]],
    optimizer: Optimizer,
    model: nn.Module,
) -> dict[str, Any]:
    """Return the saved states in the form of `Optimizer.state_dict`, which numbers parameters."""
    names = _names(optimizer, model)
    indices: dict[str, int] = {}
    numbered = []
    for now, then in zip(optimizer.param_groups, groups, strict=True):
        numbers = [len(indices) + i for i in range(len(now["params"]))]
        indices.update({names[id(p)]: i for p, i in zip(now["params"], numbers, strict=True)})
        numbered.append({**then, "params": numbers})
    return {
        "state": {indices[name]: state for name, state in states.items()},
        "param_groups": numbered,
    }


def _freeze(value: Any, where: str, tensors: _Tensors) -> Any:
    """Return `value` as JSON; its tensors go into `tensors`, named by their path in the tree."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            # JSON has neither NaN nor infinity.
            return value if math.isfinite(value) else {"$float": str(value)}
        case Tensor():
            tensors[where] = _copy(value)
            return {"$tensor": where}
        case np.generic():
            return _freeze(value.item(), where, tensors)
        # Before `Mapping`, which it is, too. Schedulers hold one as their milestones.
        case Counter():
            return {"$counter": [[key, count] for key, count in value.items()]}
        case tuple() | list():
            items = [_freeze(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]
            return {"$tuple": items} if isinstance(value, tuple) else items
        case Mapping():
            # As pairs: the keys of a JSON object would all become strings.
            return {
                "$dict": [[key, _freeze(v, f"{where}.{key}", tensors)] for key, v in value.items()]
            }
    raise NotCheckpointable(where, type(value).__name__)


def _thaw(value: Any, tensors: _Tensors) -> Any:
    """Return what `_freeze` was given."""
    match value:
        case {"$float": text}:
            return float(text)
        case {"$tensor": where}:
            return tensors[where]
        case {"$counter": items}:
            return Counter({key: count for key, count in items})
        case {"$tuple": items}:
            return tuple(_thaw(item, tensors) for item in items)
        case {"$dict": items}:
            return {key: _thaw(item, tensors) for key, item in items}
        case list():
            return [_thaw(item, tensors) for item in value]
    return value


def _copy(tensor: Tensor) -> Tensor:
    # A copy, since the format refuses tensors that share memory, as tied weights do.
    return torch.clone(tensor.detach().cpu(), memory_format=torch.contiguous_format)
