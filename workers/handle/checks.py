"""Checks of what a training script hands to the handle."""

import math
from collections.abc import Callable

import torch
from torch import nn

from search_space.sites import restored
from workers.errors import Diverged, MisusedHandle
from workers.handle.protocol import Stateful


def finite_metrics(epoch: int, metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics as plain numbers. Raises `Diverged` if one is not finite."""
    plain = {name: float(value) for name, value in metrics.items()}
    for name, value in plain.items():
        if not math.isfinite(value):
            raise Diverged(epoch + 1, name, value)
    return plain


def finite_loss(loss: Callable[[nn.Module], float], model: nn.Module) -> float:
    """Return the loss of the network as it is. Raises `Diverged` if it is not finite."""
    with restored(model), torch.no_grad():
        value = float(loss(model))
    if not math.isfinite(value):
        raise Diverged(0, "the validation loss at the swap", value)
    return value


def is_finite(model: nn.Module) -> bool:
    """Whether all parameters of a network are finite."""
    return all(bool(p.isfinite().all()) for p in model.parameters())


def check_stateful(others: tuple[Stateful, ...]) -> None:
    """Raise `MisusedHandle` if a checkpoint cannot store one of the objects."""
    # Checked before the first epoch: the first checkpoint would fail only after it.
    for other in others:
        missing = [name for name in ("state_dict", "load_state_dict") if not hasattr(other, name)]
        if missing:
            kind = type(other).__name__
            raise MisusedHandle(
                f"epochs was given a {kind}, which has no {' and no '.join(missing)}: "
                "a checkpoint cannot hold it"
            )
