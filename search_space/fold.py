"""Replaces a trained network's activations by shorter forms, for inference alone."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_weights

from search_space.activations.acon import AconC, MetaAcon, switched
from search_space.activations.broadcasting import along_channels, working_dtype
from search_space.activations.learned import LearnedActivation
from search_space.activations.network import mean_over_positions
from search_space.activations.pwlu import PWLU
from search_space.activations.pwlu_free import FreePWLU
from search_space.activations.pwlu_table import tabulate
from search_space.activations.swish import AconA, AconB
from search_space.errors import FoldDiffers
from search_space.selfcheck import difference, outputs


def fold(model: nn.Module, example_batch: Any) -> nn.Module:
    """Fold the learned activations of `model` into constants, in place, and return it.

    PWLU becomes a table of slopes and offsets; ACON and Swish keep two products and a sigmoid;
    the batch norms of Meta-ACON's small network are folded into its layers. An activation without
    a shorter form stays. The model is in evaluation mode afterwards, and its activations do not
    train any more.

    Args:
        example_batch: As for `find_sites`; the outputs on it are compared before and after.

    Raises:
        FoldDiffers: If an output changes by more than rounding. The model is then as before.
    """
    model.eval()
    before = outputs(model, example_batch)
    paths = dict(model.named_modules(remove_duplicate=False))
    # By module, so that one that is shared stays shared; then by path, to be put back.
    forms = {module: _form(module) for module in paths.values()}
    folded = {path: form for path, module in paths.items() if (form := forms[module])}
    _set(model, folded)
    off, allowed = difference(before, outputs(model, example_batch))
    if off > allowed:
        _set(model, {path: paths[path] for path in folded})
        raise FoldDiffers(off, allowed)
    for module in model.modules():
        if isinstance(module, LearnedActivation):
            module.requires_grad_(False)
    return model


def _set(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    for path, module in modules.items():
        model.set_submodule(path, module)


def _form(module: nn.Module) -> nn.Module | None:
    """Return what `module` is folded into; None where it has no shorter form."""
    match module:
        case FreePWLU():
            # Its intervals differ, so no product finds the row.
            return None
        case PWLU():
            return None if module.collecting else FoldedPWLU(module).eval()
        case MetaAcon():
            # A layer norm depends on its input; other switches have no small network.
            constant = module.each == "channel" and not isinstance(module.bn1, nn.LayerNorm)
            return FoldedMetaAcon(module).eval() if constant else None
        case AconA() | AconB() | AconC():
            p1, p2, beta = (p.detach() for p in module.acon_c_parameters())
            return FoldedAcon(p1, p2, beta, module.channel_dim).eval()
    return None


class FoldedPWLU(nn.Module):
    """`y = slope[row] x + offset[row]`, with the row `floor(scale x + shift)`, clamped."""

    slope: Tensor
    offset: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, pwlu: PWLU) -> None:
        super().__init__()
        self.channel_dim = pwlu.channel_dim
        parameters = (pwlu.values, pwlu.left_slope, pwlu.right_slope, pwlu.left, pwlu.right)
        table = tabulate(*(p.detach() for p in parameters))
        self.register_buffer("slope", table.slope)
        self.register_buffer("offset", table.offset)
        self.register_buffer("scale", table.scale.squeeze(1))
        self.register_buffer("shift", table.shift.squeeze(1))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        scale, shift = (along_channels(t, x, self.channel_dim) for t in (self.scale, self.shift))
        last = self.slope.shape[1] - 1
        # Clamped twice: a large position fits no integer, and NaN becomes an arbitrary one.
        row = (wide * scale + shift).clamp(0, last).to(torch.int64).clamp(0, last)
        if len(self.slope) > 1:
            # One flat table for a plain look-up: channel c begins at c times the number of rows.
            first = torch.arange(len(self.slope), device=x.device) * (last + 1)
            row = row + along_channels(first, x, self.channel_dim)
        slope, offset = (t.flatten()[row] for t in (self.slope, self.offset))
        return (slope * wide + offset).to(x.dtype)


class FoldedAcon(nn.Module):
    """`y = x (a sigmoid(b x) + c)`: any ACON whose switch is a constant."""

    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(self, p1: Tensor, p2: Tensor, beta: Tensor, channel_dim: int) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.register_buffer("a", p1 - p2)
        self.register_buffer("b", beta * (p1 - p2))
        self.register_buffer("c", p2)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        a, b, c = (along_channels(t, x, self.channel_dim) for t in (self.a, self.b, self.c))
        return (wide * (torch.sigmoid(wide * b) * a + c)).to(x.dtype)


class FoldedMetaAcon(nn.Module):
    """Meta-ACON whose batch norms are in the layers of its small network."""

    p1: Tensor
    p2: Tensor

    def __init__(self, acon: MetaAcon) -> None:
        super().__init__()
        self.fc1 = _folded(acon.fc1, acon.bn1)
        self.fc2 = _folded(acon.fc2, acon.bn2)
        self.register_buffer("p1", acon.p1.detach())
        self.register_buffer("p2", acon.p2.detach())

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(working_dtype(x))
        mean = mean_over_positions(x).to(self.fc1.weight.dtype)
        beta = along_channels(torch.sigmoid(self.fc2(self.fc1(mean))), x, 1)
        p1, p2 = (along_channels(p, x, 1) for p in (self.p1, self.p2))
        return switched(wide, p1, p2, beta).to(x.dtype)


def _folded(layer: nn.Linear, norm: nn.Module) -> nn.Linear:
    """Return a layer that computes `layer` and the batch norm after it, in evaluation."""
    new = nn.Linear(layer.in_features, layer.out_features).to(layer.weight)
    weight, bias = layer.weight, layer.bias
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_linear_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    with torch.no_grad():
        new.weight.copy_(weight)
        new.bias.copy_(bias)
    return new.requires_grad_(False)
