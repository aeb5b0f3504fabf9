"""How the kernels for CPUs are compiled and run."""

import threading
from collections.abc import Callable
from typing import Any

import numba
import torch

# Elements that are not worth a second thread.
_SMALL = 1 << 14

# Numba's simplest thread pool does not stand two callers at a time.
_one_at_a_time = threading.Lock()


def compiled(
    *, parallel: bool = False, any_order: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, and keep it in Numba's cache where that can be written.

    Products and sums may be contracted. Nothing else is given up of IEEE arithmetic: NaN and
    infinities go where the formula takes them.

    Args:
        parallel: Its `prange` loops run on several threads.
        any_order: Sums may be added in another order than written, always the same.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {
            "parallel": parallel,
            "nogil": True,
            "error_model": "numpy",
            "fastmath": {"contract", "nsz"} | ({"reassoc"} if any_order else set()),
        }
        kernel: Callable[..., Any]
        try:
            kernel = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # No folder for the cache can be written.
            kernel = numba.njit(**options)(function)
        return kernel

    return decorate


def chunks(elements: int) -> int:
    """Return in how many parts to cut the work, one for a thread: as many as torch would use."""
    if elements < _SMALL:
        return 1
    available: int = numba.config.NUMBA_NUM_THREADS
    return min(torch.get_num_threads(), available)


def run(threads: int, kernel: Callable[..., Any], *arguments: Any) -> None:
    """Run a parallel kernel on so many threads."""
    with _one_at_a_time:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            kernel(*arguments)
        finally:
            numba.set_num_threads(before)
