"""A check before a training: whether half precision changes the outputs of a network."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from workers.training.diagnostics import activations, forward_hooks

LARGEST_ERROR = 0.1
"""Relative error of an output in half precision. Rounding alone gives about 0.01 after some dozens
of layers."""


@torch.no_grad()
def rounding_remark(
    model: nn.Module, x: Tensor, reduced: AbstractContextManager[object]
) -> str | None:
    """Return a remark if half precision changes the outputs of the network too much.

    Args:
        reduced: Autocast to half precision.
    """
    training = model.training
    model.eval()
    full, full_output = _outputs(model, x, nullcontext())
    half, half_output = _outputs(model, x, reduced)
    model.train(training)
    *layers, final = _errors([*full.values(), full_output], [*half.values(), half_output])
    if final <= LARGEST_ERROR:
        return None
    # The first layer with such an error: in the layers after it, the error is a consequence.
    wrong = [name for name, error in zip(full, layers, strict=True) if not error <= LARGEST_ERROR]
    where = f"first at {wrong[0]}" if wrong else "after the last activation"
    return f"half precision changes the network's outputs by {final:.0%}, {where}"


def _outputs(
    model: nn.Module, x: Tensor, precision: AbstractContextManager[object]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the outputs of activations, by site, and that of the network."""
    seen: dict[str, Tensor] = {}
    names = {module: name for name, module in activations(model)}

    def record(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        seen[names[module]] = output.float()

    with forward_hooks(names, record), precision:
        output = model(x).float()
    return seen, output


def _errors(full: list[Tensor], half: list[Tensor]) -> Iterator[float]:
    pairs = zip(full, half, strict=True)
    errors = [(h - f).norm() / f.norm().clamp_min(torch.finfo(f.dtype).tiny) for f, h in pairs]
    found: list[float] = torch.stack(errors).tolist()
    yield from (error if error == error else float("inf") for error in found)
