"""Finding the calls of activations in a network, by running it on one batch and watching.

Running is what sees a function as well as a module, one ReLU shared by three calls, and a
loop whose length depends on the data. `README.md` says how calls get their ids.
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

from search_space.catalog.lookup import lookup
from search_space.spec import Site, SitePlan
from search_space.surgery.originals import NATIVE
from search_space.surgery.recorder import Recorder, Sighting


def find_sites(model: nn.Module, example_batch: Any) -> SitePlan:
    """Return the sites of `model`, in the order in which they are called.

    The network runs once in training and once in evaluation mode; a site that only one of
    them calls counts. Afterwards modes, buffers and random states are as they were.

    Args:
        example_batch: A tensor; a tuple or list of positional or a mapping of keyword
            arguments. One sample will do, unless the network itself needs more to train.
    """
    return probe(model, example_batch).plan


@dataclass(frozen=True, slots=True)
class Call:
    """A site, and what its input was.

    Attributes:
        site: With its place.
        device: Where the input is.
        elements: Numbers in its inputs, over a whole pass of the network on this batch.
    """

    site: Site
    device: torch.device
    elements: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a run has shown.

    Attributes:
        calls: The call behind each site and gate of the plan, by its id, in order.
        callers: Paths of the modules within whose forward an activation function was called.
    """

    plan: SitePlan
    calls: Mapping[str, Call]
    callers: frozenset[str]


def probe(model: nn.Module, example_batch: Any) -> Probe:
    """Run `model` on one batch in both modes and return everything seen."""
    recorders: list[Recorder] = []
    with restored(model), torch.compiler.set_stance("force_eager"):
        for training in (True, False):
            model.train(training)
            recorders.append(Recorder(model))
            # As in real use: some networks differentiate within their forward, others have
            # a short cut in evaluation that records no gradients.
            args, kwargs = arguments(example_batch)
            with torch.set_grad_enabled(training):
                recorders[-1].run(*args, **kwargs)
    train, evaluation = recorders
    sightings, clashing = _union(train, evaluation)
    gates = {s.place.id for s in sightings if lookup(s.original.name).gate}
    # Gates are on no way through the network, so they are in no stage of it.
    stages = _stages(s for s in sightings if s.place.id not in gates)
    hidden = train.untraceable | evaluation.untraceable
    calls = {
        s.place.id: _call(s, _component(s) if s.place.id in gates else next(stages), hidden)
        for s in sightings
    }
    plan = SitePlan(
        sites=tuple(call.site for id, call in calls.items() if id not in gates),
        unreachable=(*_scripted(model), *sorted(clashing)),
        gates=tuple(calls[id].site for id in calls if id in gates),
    )
    return Probe(plan, calls, frozenset(train.callers | evaluation.callers))


def arguments(example_batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments; copies, as a network may overwrite them."""
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
    """Put modes, buffers and random states back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=sorted(devices)):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                if buffer is not None and before is not None:
                    buffer.copy_(before)


def _union(train: Recorder, evaluation: Recorder) -> tuple[list[Sighting], set[str]]:
    """Return the sightings of either run in order, and the ids of those left out.

    What only evaluation calls comes after what precedes it there.
    """
    merged = list(train.seen.values())
    clashing = train.clashing | evaluation.clashing
    place = 0
    for sighting in evaluation.seen.values():
        twin = train.seen.get(sighting.place.id)
        if twin is None:
            merged.insert(place, sighting)
            place += 1
            continue
        place = merged.index(twin) + 1
        twin.in_place |= sighting.in_place
        if (twin.channels, twin.channel_dim) != (sighting.channels, sighting.channel_dim):
            clashing.add(sighting.place.id)
    return [s for s in merged if s.place.id not in clashing], clashing


def _stages(sightings: Iterable[Sighting]) -> Iterator[str]:
    """Yield the stage of each sighting: runs of equal spatial size are counted from 0.

    A call without space (tokens, vectors, a squeeze to 1x1) is in the stage named by the
    first component of its path, and does not end the run around it.
    """
    run, last = -1, None
    for sighting in sightings:
        space = _space(sighting)
        if not space:
            yield _component(sighting)
            continue
        if space != last:
            run, last = run + 1, space
        yield str(run)


def _component(sighting: Sighting) -> str:
    """Return the first component of the path."""
    return sighting.place.path.split(".")[0] or "root"


def _space(sighting: Sighting) -> tuple[int, ...]:
    """Return the spatial size; empty for tokens, for vectors and after global pooling."""
    shape, first = sighting.shape, sighting.channel_dim == 1
    size = tuple(shape[2:] if first else shape[1:-1])
    return size if prod(size) > 1 and (first or len(shape) > 3) else ()


def _block(path: str) -> str:
    """Return the path up to its last number; without a number, the path of what holds it."""
    parts = path.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[: numbers[-1] + 1] if numbers else parts[:-1]) or "root"


def _call(sighting: Sighting, stage: str, hidden: set[tuple[str, str]]) -> Call:
    seen = sighting.place
    functional = seen.target is None
    place = replace(
        seen,
        in_place=sighting.in_place,
        traceable=not (functional and (seen.owner, seen.function) in hidden),
    )
    site = Site(
        id=place.id,
        rank=len(sighting.shape),
        channels=sighting.channels,
        channel_dim=sighting.channel_dim,
        original=sighting.original.name,
        original_params=sighting.original.params,
        stage=stage,
        block=_block(place.path),
        place=place,
    )
    return Call(site, sighting.device, sighting.elements)


def _scripted(model: nn.Module) -> list[str]:
    """Return the paths of the outermost TorchScript modules that call an activation."""
    found: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and not any(
            path.startswith(f"{outer}.") for outer in found
        ):
            graph = str(module.inlined_graph)
            if any(f"aten::{name}" in graph for name in NATIVE):
                found.append(path)
    return found
