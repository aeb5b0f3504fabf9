"""Definitions for the standalone file that replace those which read the catalogue."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from search_space.surgery.originals import FUNCTIONS

# The functions that activations start as, by name. Each file defines its own.
STARTS: Mapping[str, Callable[[], nn.Module]] = {}


class _Named(NamedTuple):
    """Stands for an `ActivationSpec`: numbering calls needs only the name."""

    name: str


def function_spec(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Named | None:
    """Return which activation function is called, None for any other function."""
    known = FUNCTIONS.get(function)
    if known is None:
        return None
    tanh = known.name == "gelu" and known.bind(args, kwargs).get("approximate") == "tanh"
    return _Named("gelu_tanh" if tanh else known.name)


def scalar_function(name: str) -> Callable[[Tensor], Tensor]:
    """Return a function of one number that a learned activation may start as."""
    forward: Callable[[Tensor], Tensor] = STARTS[name]().forward
    return forward
