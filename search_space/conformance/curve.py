"""Plots of activations and their derivatives, at their starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_space.build import build
from search_space.catalog.lookup import get_entry
from search_space.spec import ActivationSpec

_REACH, _POINTS = 5.0, 501


def curve(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, outputs and derivatives of an activation at its defaults and its start.

    Every point is a separate sample with one channel and one position: an activation that
    depends on more than one number has the curve of such samples.

    Raises:
        UnknownActivation: If the catalogue does not hold the name.
    """
    get_entry(name)
    torch.manual_seed(0)
    module = build(ActivationSpec(name), channels=1).eval()
    x = torch.linspace(-_REACH, _REACH, _POINTS).reshape(-1, 1, 1, 1).requires_grad_()
    y = module(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return x.detach().flatten(), y.detach().flatten(), slope.flatten()


def draw(names: Sequence[str], file: Path) -> None:
    """Plot activations, and their derivatives below, into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name in names:
        x, y, slope = (part.numpy() for part in curve(name))
        upper.plot(x, y, label=name)
        lower.plot(x, slope, label=name)
    for axes, title in ((upper, "f(x)"), (lower, "df/dx")):
        _tidy(axes, title)
    lower.set_xlabel("x")
    upper.legend(frameon=False)
    figure.savefig(file)


def _tidy(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
