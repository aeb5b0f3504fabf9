"""Checks that replacing activations in a network changes nothing else."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from search_space.errors import ApplyFails
from search_space.sites import arguments
from search_space.spec import Site
from search_space.surgery.placing import module_of_call


class SelfCheck:
    """Compares a network before and after its activations are replaced.

    Make it before the replacement, which runs the network once, and call `verify` after it.

    Args:
        modules: The replacements, by the id of their site.
        sites: All sites of the network, with their places.
        original: Makes a module of the function that a site calls, for functional calls.
        run: Runs the network and returns its outputs.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        sites: Iterable[Site],
        original: Callable[[str], nn.Module],
        run: Callable[[], list[Tensor]],
    ) -> None:
        places = {site.id: site.place for site in sites}
        present = {id: module_of_call(model, places[id]) for id in modules}
        originals = {id: original(id) if m is None else m for id, m in present.items()}
        self._pairs = [(module, originals[id]) for id, module in modules.items()]
        self._run = run
        # Now, because the replacement changes the model itself.
        self._before = run()

    def verify(self) -> None:
        """Run the network with its originals at their new places, then with its replacements.

        Raises:
            ApplyFails: If the first run gives other numbers than before; or if the second gives
                other shapes, or numbers that are not finite where all were.
        """
        with ExitStack() as stack:
            for module, original in self._pairs:
                stack.enter_context(_computing_as(module, original))
            off, allowed = difference(self._before, self._run())
        if off > allowed:
            raise ApplyFails(
                "with its own activations at their new places its numbers are off by "
                f"{off:.3g} of the largest, more than {allowed:.3g}: something besides the calls "
                "depends on what is called"
            )
        after = self._run()
        if _shapes(after) != _shapes(self._before):
            raise ApplyFails(f"it gives {_shapes(after)} where it gave {_shapes(self._before)}")
        if _all_finite(self._before) and not _all_finite(after):
            raise ApplyFails("it gives numbers that are not finite where all were")


def outputs(model: nn.Module, example_batch: Any) -> list[Tensor]:
    """Return the floating tensors that `model` gives in evaluation, with torch seeded with 0."""
    args, kwargs = arguments(example_batch)
    modes = [(module, module.training) for module in model.modules()]
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=sorted(devices)):
            # Equal draws in every run, in case the network draws in evaluation.
            torch.manual_seed(0)
            leaves = tree_leaves(model(*args, **kwargs))
    finally:
        for module, training in modes:
            module.training = training
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def difference(before: list[Tensor], after: list[Tensor]) -> tuple[float, float]:
    """Return by how much of the largest number two runs differ, and what rounding allows.

    Rounding is allowed half the digits of the dtype. The difference is infinite where shapes
    differ; NaN is equal to NaN.
    """
    if _shapes(before) != _shapes(after):
        return float("inf"), 0.0
    off, allowed = 0.0, 0.0
    for old, new in zip(before, after, strict=True):
        one, other = old.double(), new.double()
        same = (one == other) | (one.isnan() & other.isnan())
        largest = one.abs().masked_fill(~one.isfinite(), 0).flatten()
        apart = (other - one).abs().masked_fill(same, 0).flatten()
        if apart.numel():
            # A number that became NaN is not rounding.
            share = (apart.max() / largest.max().clamp_min(1e-12)).nan_to_num(nan=float("inf"))
            off = max(off, float(share))
            allowed = max(allowed, torch.finfo(old.dtype).eps ** 0.5)
    return off, allowed


def _shapes(tensors: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors]


def _all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


@contextmanager
def _computing_as(module: nn.Module, original: nn.Module) -> Iterator[None]:
    """Let `module` compute what `original` computes in evaluation."""

    def forward(x: Tensor) -> Tensor:
        # The owner must not count the function that an original calls as its own.
        with torch._C.DisableTorchFunction():
            y: Tensor = original.forward(x)
        return y

    # Only `forward` is replaced, so that hooks and the type of the module stay as they are.
    instance_forward, training = module.__dict__.get("forward"), original.training
    module.forward = forward
    original.eval()
    try:
        yield
    finally:
        original.train(training)
        del module.forward
        if instance_forward is not None:
            module.forward = instance_forward
