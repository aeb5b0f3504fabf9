"""How the kernels for CPUs are compiled and run.

Numba compiles them for one thread, and threads of Python's own run the parts of an input side by
side: a kernel lets go of the interpreter. Numba's own thread pools would not stand two callers at
a time, nor a fork after their first use.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch

# Elements that are not worth a second thread.
_SMALL = 1 << 14


def compiled(*, any_order: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, and keep it in Numba's cache where that can be written.

    Products and sums may be contracted. Nothing else is given up of IEEE arithmetic: NaN and
    infinities go where the formula takes them.

    Args:
        any_order: Sums may be added in another order than written, always the same.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {
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
    return 1 if elements < _SMALL else torch.get_num_threads()


def run(chunks: int, kernel: Callable[..., Any], *arguments: Any) -> None:
    """Call a kernel once for each part, with the number of the part as its last argument."""
    others = [_threads(os.getpid()).submit(kernel, *arguments, chunk) for chunk in range(1, chunks)]
    kernel(*arguments, 0)
    for other in others:
        other.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - threads do not outlive a fork
    return ThreadPoolExecutor(thread_name_prefix="kernel")
