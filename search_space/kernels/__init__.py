"""Fused twins of the learned activations: Numba for CPUs, Triton for CUDA."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_COMPILERS = {"cpu": "numba", "cuda": "triton"}


def available(device_type: str) -> bool:
    """Whether fused kernels can run on a device of this type: `cpu` or `cuda`.

    Looks for the compiler without loading it: loading takes seconds, and a process that has run
    a parallel kernel must not fork any more.
    """
    compiler = _COMPILERS.get(device_type)
    return compiler is not None and find_spec(compiler) is not None


def load(kernel: str, device_type: str) -> Any:
    """Return the module of a kernel for a device, and load its compiler.

    Raises:
        ModuleNotFoundError: If there is no compiler for the device.
    """
    if not available(device_type):
        needs = _COMPILERS.get(device_type, "a compiler that is not supported")
        raise ModuleNotFoundError(
            f"the fused {kernel} on {device_type} needs {needs}; "
            "install activation-search[kernels] for CPUs, activation-search[triton] for CUDA"
        )
    return import_module(f"search_space.kernels.{device_type}_{kernel}")
