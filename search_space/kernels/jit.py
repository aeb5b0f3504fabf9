"""How the kernels for CPUs are compiled and run.

Numba compiles them for one thread, and Python threads run the parts of an input in parallel: a
kernel releases the GIL. Numba's own thread pools support neither two callers at a time nor a fork
after their first use.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch

# Below this number of elements a second thread costs more than it saves.
_SMALL = 1 << 14


def compiled(*, any_order: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call; store it in Numba's cache if that can be written.

    Products and sums may be contracted, and the sign of 0 may be lost. All else is IEEE
    arithmetic: NaN and infinities propagate as in the formula.

    Args:
        any_order: Sums may be added in another order than written, the same in every call.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": {"contract", "nsz"} | ({"reassoc"} if any_order else set()),
        }
        kernel: Callable[..., Any]
        try:
            # Without a cache every process would compile for seconds.
            kernel = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # No folder for the cache is writable.
            kernel = numba.njit(**options)(function)
        return kernel

    return decorate


def chunks(elements: int) -> int:
    """Return the number of parts to cut the work into, one per thread: as torch would use."""
    return 1 if elements < _SMALL else torch.get_num_threads()


def run(chunks: int, kernel: Callable[..., Any], *arguments: Any) -> None:
    """Call a kernel once for each part, with the number of the part as its last argument."""
    # The caller's thread takes part 0 itself.
    others = [_threads(os.getpid()).submit(kernel, *arguments, chunk) for chunk in range(1, chunks)]
    kernel(*arguments, 0)
    # Raises what a kernel raised in its thread.
    for other in others:
        other.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - threads do not outlive a fork
    return ThreadPoolExecutor(thread_name_prefix="kernel")
