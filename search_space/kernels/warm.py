"""Compiles the CPU kernels before their first use, or loads them from Numba's cache."""

import torch
from torch import Tensor

from search_space.kernels import cpu_acon, cpu_pwlu

_CHANNELS = 3
# Runs long enough for vectors, shorter runs, and pixels: each has its own kernel.
_SHAPES = ((2, _CHANNELS, 8, 8), (2, _CHANNELS, 2, 1), (2, _CHANNELS))


def warm() -> None:
    """Run every kernel once in float32.

    Without autograd and on one thread, so that the process may fork afterwards: its children
    have the kernels already.
    """
    for shape in _SHAPES:
        x = torch.zeros(shape)
        _run_pwlu(x)
        _run_acon(x)


def _run_pwlu(x: Tensor) -> None:
    one = torch.ones(_CHANNELS)
    parameters = (torch.zeros(_CHANNELS, 3), one, one, -one, one)
    cpu_pwlu.forward(x, parameters, 1)
    cpu_pwlu.backward(x, x, parameters, 1)


def _run_acon(x: Tensor) -> None:
    one = torch.ones(1, _CHANNELS)
    cpu_acon.forward(x, one, one, one, 1)
    cpu_acon.backward(x, x, one, one, one, 1)
