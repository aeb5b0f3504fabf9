"""Folding batch normalisation into the layer before it, as for deployment."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._pytree import tree_leaves

from search_space.sites import arguments
from workers.errors import NotMeasurable

_BEFORE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Folding changes the order of sums, and so the rounding. A larger error is another function.
_TOLERANCE = 1e-2


@torch.no_grad()
def fold(model: nn.Module, batch: Any) -> None:
    """Fold, in place, every normalisation whose input is the output of one layer.

    Raises:
        NotMeasurable: If the network then computes something else, because another module also
            uses the output of such a layer.
    """
    model.eval()
    args, kwargs = arguments(batch)
    expected, pairs = _observe(model, args, kwargs)
    paths = {module: path for path, module in model.named_modules()}
    for norm, layer in pairs:
        fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        model.set_submodule(paths[layer], fuse(layer, norm))
        model.set_submodule(paths[norm], nn.Identity())
    if not _close(expected, model(*arguments(batch)[0], **arguments(batch)[1])):
        raise NotMeasurable(
            "measure.folded: folding batch normalisation changes what the network computes"
        )


def _observe(
    model: nn.Module, args: Any, kwargs: Any
) -> tuple[Any, list[tuple[nn.Module, nn.Module]]]:
    """Return the outputs, and each normalisation with the layer before it, if both run once."""
    made: dict[int, tuple[Tensor, nn.Module]] = {}
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, _BEFORE):
            # With a reference to the tensor, so that no other tensor gets its id.
            made[id(output)] = output, module
        elif id(inputs[0]) in made:
            pairs.append((module, made[id(inputs[0])][1]))

    kinds = (*_BEFORE, *_NORMS)
    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, kinds)]
    try:
        outputs = model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    once = [(norm, layer) for norm, layer in pairs if calls[norm] == calls[layer] == 1]
    return outputs, once


def _close(one: Any, other: Any) -> bool:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(
        torch.allclose(a.float(), b.float(), rtol=_TOLERANCE, atol=_TOLERANCE * _size(a))
        for a, b in pairs
        if isinstance(a, Tensor)
    )


def _size(x: Tensor) -> float:
    return float(x.float().abs().max()) if x.numel() else 0.0
