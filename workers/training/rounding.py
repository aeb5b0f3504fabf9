"""Does a network compute the same in half precision as in full? Asked before it is trained."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from workers.training.diagnostics import activations

LARGEST_ERROR = 0.1
"""Of an output in half precision, relative to the one in full precision. Rounding alone gives
about a hundredth after some dozens of layers."""


@torch.no_grad()
def rounding_remark(
    model: nn.Module, x: Tensor, reduced: AbstractContextManager[object]
) -> str | None:
    """Return what half precision does to the network, None where it does no harm.

    Args:
        reduced: Autocast to half precision.
    """
    training = model.training
    model.eval()
    full, full_answer = _outputs(model, x, nullcontext())
    half, half_answer = _outputs(model, x, reduced)
    model.train(training)
    *layers, answer = _errors([*full.values(), full_answer], [*half.values(), half_answer])
    if answer <= LARGEST_ERROR:
        return None
    # The layer from which on the error is what it is in the end, not the noisiest of all.
    wrong = [name for name, error in zip(full, layers, strict=True) if not error <= LARGEST_ERROR]
    where = f"first at {wrong[0]}" if wrong else "after the last activation"
    return f"half precision changes the network's outputs by {answer:.0%}, {where}"


def _outputs(
    model: nn.Module, x: Tensor, precision: AbstractContextManager[object]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return what activations give, by site, and the network's answer."""
    seen: dict[str, Tensor] = {}
    names = {module: name for name, module in activations(model)}

    def note(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        seen[names[module]] = output.float()

    handles = [module.register_forward_hook(note) for module in names]
    with precision:
        answer = model(x).float()
    for handle in handles:
        handle.remove()
    return seen, answer


def _errors(full: list[Tensor], half: list[Tensor]) -> Iterator[float]:
    pairs = zip(full, half, strict=True)
    errors = [(h - f).norm() / f.norm().clamp_min(torch.finfo(f.dtype).tiny) for f, h in pairs]
    found: list[float] = torch.stack(errors).tolist()
    yield from (error if error == error else float("inf") for error in found)
