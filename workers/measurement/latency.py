"""The latency of a network relative to another one, with an interval."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from torch import nn

from search_space.contract import Form, Ratio
from search_space.sites import arguments
from workers.measurement.device_lock import exclusive
from workers.measurement.fold_batch_norm import fold
from workers.measurement.form import autocast, device_of

_WARM_UP = 3
# With fewer than six, no order statistics enclose the median with a confidence of 95 %.
_LEAST_ROUNDS = 9
_MOST_ROUNDS = 51
_SECONDS = 1.0
# Of one timing: much longer than what reading the clock and starting a kernel take.
_LEAST_SECONDS = 2e-3
_CONFIDENCE = 0.95


def latency_ratio(
    before: nn.Module, after: nn.Module, batch: Any, form: Form
) -> tuple[Ratio, float]:
    """Return the ratio of the forward passes' times, and the median time of `after` in seconds.

    Both networks are changed: they are in evaluation afterwards, and folded if the form says so.
    """
    device = device_of(after)
    with ExitStack() as stack:
        calls = []
        for network in (before, after):
            network.eval()
            if form.folded:
                fold(network, batch)
            compiled = torch.compile(network) if form.compiled else network
            calls.append(_caller(compiled, batch))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(autocast(device, form))
        # Other trials may train meanwhile, but no two measure on one device at the same time.
        stack.enter_context(exclusive(device))
        pairs = list(_pairs(calls[0], calls[1], device))
    ratios = sorted(own / other for other, own in pairs)
    low, high = _interval(len(ratios))
    # The median of ratios, not the ratio of medians: what slows the machine for a while slows
    # both networks of a pair, and leaves their ratio as it is.
    ratio = Ratio(value=median(ratios), low=ratios[low], high=ratios[high])
    return ratio, median(own for _, own in pairs)


def _caller(network: Callable[..., Any], batch: Any) -> Callable[[], object]:
    args, kwargs = arguments(batch)
    return lambda: network(*args, **kwargs)


def _pairs(
    one: Callable[[], object], other: Callable[[], object], device: torch.device
) -> Iterator[tuple[float, float]]:
    """Yield pairs of seconds that one call of each takes."""
    for _ in range(_WARM_UP):
        slowest = max(_seconds(one, device, 1), _seconds(other, device, 1))
    repeats = math.ceil(_LEAST_SECONDS / max(slowest, 1e-6))
    end = time.perf_counter() + _SECONDS
    for round in range(_MOST_ROUNDS):
        if round >= _LEAST_ROUNDS and time.perf_counter() > end:
            return
        # In changing order: the second one may find warmer caches, or a hotter processor.
        if round % 2:
            second = _seconds(other, device, repeats)
            yield _seconds(one, device, repeats), second
        else:
            yield _seconds(one, device, repeats), _seconds(other, device, repeats)


def _seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    # A GPU works asynchronously: a call returns before its kernels have run.
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize(device)
    return (time.perf_counter() - began) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _interval(n: int) -> tuple[int, int]:
    """Return the indices of the sorted values that enclose the median, with 95 % confidence."""
    # Distribution-free: how many of n values are below the median is binomial with p = 1/2.
    left, low = 0.0, 0
    for k in range(n // 2):
        left += math.comb(n, k) / 2**n
        if 2 * left > 1 - _CONFIDENCE:
            break
        low = k
    return low, n - 1 - low
