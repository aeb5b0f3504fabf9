"""Finds the calls of activations in a network, by running it on one batch.

A run shows functions as well as modules, each call of a shared module, and loops whose length
depends on the data.

Each call has an id. A module's first call has its path (`layers.0.relu`), its second
`layers.0.relu@2`; a module with several paths has the one under its caller. Calls of a module
are counted in each forward pass of its owner, the innermost running module that contains it. A
functional call has the path of the module whose forward makes it, the function's name in the
catalogue and its number (`layers.0:relu@1`, `:relu@1` in the root), counted for each function
in each forward pass of that module.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from search_space.catalog.lookup import get_entry
from search_space.spec import Site, SitePlan
from search_space.surgery.originals import NATIVE
from search_space.surgery.recorder import RecordedCall, Recorder


def find_sites(model: nn.Module, example_batch: Any) -> SitePlan:
    """Return the sites of `model`, in the order in which they are called.

    The network runs once in training and once in evaluation mode; a site that only one of the
    two calls is included. Afterwards modes, buffers and random states are as before.

    Args:
        example_batch: A tensor; a tuple or list of positional or a mapping of keyword
            arguments. One sample is enough, unless the network itself needs more to train.
    """
    return probe(model, example_batch).plan


@dataclass(frozen=True, slots=True)
class Call:
    """A site, and facts about its input.

    Attributes:
        site: With its place.
        device: Where the input is.
        elements: Number of elements of its inputs in one pass of the network on this batch.
    """

    site: Site
    device: torch.device
    elements: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What running a network has shown.

    Attributes:
        calls: The call behind each site and gate of the plan, by its id, in order.
        callers: Paths of the modules within whose forward an activation function was called.
    """

    plan: SitePlan
    calls: Mapping[str, Call]
    callers: frozenset[str]


def probe(model: nn.Module, example_batch: Any) -> Probe:
    """Run `model` on one batch, in training and in evaluation, and return what was recorded."""
    recorders: list[Recorder] = []
    with restored(model), torch.compiler.set_stance("force_eager"):
        for training in (True, False):
            model.train(training)
            recorders.append(Recorder(model))
            # As in real use: some networks differentiate within their forward, others take a
            # shortcut in evaluation if no gradients are recorded.
            args, kwargs = arguments(example_batch)
            with torch.set_grad_enabled(training):
                recorders[-1].run(*args, **kwargs)
    train, evaluation = recorders
    recorded, conflicting = _merge(train, evaluation)
    gates = {c.place.id for c in recorded if get_entry(c.original.name).gate}
    # Gates are beside the main path through the network, so they begin and end no stage.
    stages = _stages(c for c in recorded if c.place.id not in gates)
    hidden = train.untraceable | evaluation.untraceable
    calls = {
        c.place.id: _call(c, _first_component(c) if c.place.id in gates else next(stages), hidden)
        for c in recorded
    }
    plan = SitePlan(
        sites=tuple(call.site for id, call in calls.items() if id not in gates),
        unreachable=(*_scripted_callers(model), *sorted(conflicting)),
        gates=tuple(calls[id].site for id in calls if id in gates),
    )
    return Probe(plan, calls, frozenset(train.callers | evaluation.callers))


def arguments(example_batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return copies of positional and keyword arguments: a network may overwrite its input."""
    example_batch = tree_map_only(Tensor, _copy, example_batch)
    if isinstance(example_batch, Mapping):
        return (), dict(example_batch)
    if isinstance(example_batch, tuple | list):
        return tuple(example_batch), {}
    return (example_batch,), {}


def _copy(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_(x.requires_grad)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Restore modes, buffers and random states afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        # Not `named_buffers`: it leaves out those that are None, which a forward may set.
        for name, buffer in module._buffers.items()
    ]
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=sorted(devices)):
            yield
    finally:
        # `fork_rng` covers torch alone.
        random.setstate(states[0])
        np.random.set_state(states[1])
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                # The same tensor, as others may hold it, with its numbers from before.
                module._buffers[name] = buffer
                if buffer is not None and before is not None:
                    buffer.copy_(before)


def _merge(train: Recorder, evaluation: Recorder) -> tuple[list[RecordedCall], set[str]]:
    """Return the calls of both runs in order, and the ids of those left out.

    A call of evaluation alone comes after the call that precedes it there.
    """
    merged = list(train.calls.values())
    conflicting = train.conflicting | evaluation.conflicting
    place = 0
    for call in evaluation.calls.values():
        twin = train.calls.get(call.place.id)
        if twin is None:
            merged.insert(place, call)
            place += 1
            continue
        place = merged.index(twin) + 1
        twin.in_place |= call.in_place
        if (twin.channels, twin.channel_dim) != (call.channels, call.channel_dim):
            conflicting.add(call.place.id)
    return [call for call in merged if call.place.id not in conflicting], conflicting


def _stages(calls: Iterable[RecordedCall]) -> Iterator[str]:
    """Yield the stage of each call: runs of equal spatial size, counted from 0.

    A call without space (tokens, vectors, a squeeze to 1x1) is in the stage named by the
    first component of its path, and does not end the run around it.
    """
    run, last = -1, None
    for call in calls:
        size = _spatial_size(call)
        if not size:
            yield _first_component(call)
            continue
        if size != last:
            run, last = run + 1, size
        yield str(run)


def _first_component(call: RecordedCall) -> str:
    """Return the first component of the path."""
    return call.place.path.split(".")[0] or "root"


def _spatial_size(call: RecordedCall) -> tuple[int, ...]:
    """Return the spatial size; empty for tokens, for vectors and after global pooling."""
    shape, first = call.shape, call.channel_dim == 1
    size = tuple(shape[2:] if first else shape[1:-1])
    # With channels last, three dimensions are `(N, T, C)`: the positions are tokens.
    return size if prod(size) > 1 and (first or len(shape) > 3) else ()


def _block(path: str) -> str:
    """Return the path up to its last number; without a number, the path of the parent."""
    parts = path.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[: numbers[-1] + 1] if numbers else parts[:-1]) or "root"


def _call(recorded: RecordedCall, stage: str, hidden: set[tuple[str, str]]) -> Call:
    place = recorded.place
    # Modules are always traceable: what is hidden from a compiler is the function's call.
    is_hidden = place.target is None and (place.owner, place.function) in hidden
    place = replace(place, in_place=recorded.in_place, traceable=not is_hidden)
    site = Site(
        id=place.id,
        rank=len(recorded.shape),
        channels=recorded.channels,
        channel_dim=recorded.channel_dim,
        original=recorded.original.name,
        original_params=recorded.original.params,
        stage=stage,
        block=_block(place.path),
        place=place,
    )
    return Call(site, recorded.device, recorded.elements)


def _scripted_callers(model: nn.Module) -> list[str]:
    """Return the paths of the outermost TorchScript modules that call an activation."""
    found: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and not any(
            path.startswith(f"{outer}.") for outer in found
        ):
            # Neither hooks nor modes reach into TorchScript, but its graph is text.
            graph = str(module.inlined_graph)
            if any(f"aten::{name}" in graph for name in NATIVE):
                found.append(path)
    return found
