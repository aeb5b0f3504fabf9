"""Which of torch's modules and functions compute a fixed activation of the catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.learned import LearnedActivation
from search_space.catalog.lookup import CATALOG, get_entry, validate
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec, Scalar

_C = torch._C._nn

# In order: the first class of which a module is an instance decides.
_MODULES: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.ReLU, "relu"),
    (nn.SiLU, "silu"),
    (nn.GELU, "gelu"),
    (nn.LeakyReLU, "leaky_relu"),
    (nn.ELU, "elu"),
    (nn.SELU, "selu"),
    (nn.CELU, "celu"),
    (nn.Softplus, "softplus"),
    (nn.ReLU6, "relu6"),
    (nn.Hardswish, "hardswish"),
    (nn.Mish, "mish"),
    (nn.Sigmoid, "sigmoid"),
    (nn.Tanh, "tanh"),
    (nn.Hardsigmoid, "hardsigmoid"),
)


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of torch that computes an activation.

    Attributes:
        name: Its name in the catalogue.
        arguments: Names of its arguments after the input. One called `inplace` says whether
            the result is written into the input.
        overwrites: The result always is.
    """

    name: str
    arguments: tuple[str, ...] = ()
    overwrites: bool = False

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call after the input, by name."""
        # Not strict: trailing arguments have defaults, so a call may leave them out.
        return {**dict(zip(self.arguments, args[1:], strict=False)), **kwargs}


_INPLACE = ("inplace",)
FUNCTIONS: Mapping[Callable[..., Any], _Function] = {
    F.relu: _Function("relu", _INPLACE),
    torch.relu: _Function("relu"),
    torch.relu_: _Function("relu", overwrites=True),
    Tensor.relu: _Function("relu"),
    Tensor.relu_: _Function("relu", overwrites=True),
    F.silu: _Function("silu", _INPLACE),
    _C.silu: _Function("silu"),
    _C.silu_: _Function("silu", overwrites=True),
    F.gelu: _Function("gelu"),
    F.leaky_relu: _Function("leaky_relu", ("negative_slope", "inplace")),
    F.leaky_relu_: _Function("leaky_relu", ("negative_slope",), overwrites=True),
    F.elu: _Function("elu", ("alpha", "inplace")),
    F.elu_: _Function("elu", ("alpha",), overwrites=True),
    F.selu: _Function("selu", _INPLACE),
    torch.selu: _Function("selu"),
    torch.selu_: _Function("selu", overwrites=True),
    F.celu: _Function("celu", ("alpha", "inplace")),
    torch.celu: _Function("celu", ("alpha",)),
    torch.celu_: _Function("celu", ("alpha",), overwrites=True),
    F.softplus: _Function("softplus", ("beta", "threshold")),
    F.relu6: _Function("relu6", _INPLACE),
    F.hardswish: _Function("hardswish", _INPLACE),
    F.mish: _Function("mish", _INPLACE),
    torch.sigmoid: _Function("sigmoid"),
    torch.sigmoid_: _Function("sigmoid", overwrites=True),
    Tensor.sigmoid: _Function("sigmoid"),
    Tensor.sigmoid_: _Function("sigmoid", overwrites=True),
    torch.tanh: _Function("tanh"),
    torch.tanh_: _Function("tanh", overwrites=True),
    Tensor.tanh: _Function("tanh"),
    Tensor.tanh_: _Function("tanh", overwrites=True),
    F.hardsigmoid: _Function("hardsigmoid", _INPLACE),
}

UNTRACEABLE: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.relu_, torch.selu_, torch.celu_, torch.sigmoid_, torch.tanh_),
        *(_C.silu, _C.silu_, F.leaky_relu_, F.elu_, F.hardswish, F.hardsigmoid),
        # A mode sees F.sigmoid and F.tanh as these methods; compilers handle the two themselves.
        *(Tensor.sigmoid, Tensor.tanh),
    }
)
"""Functions that a mode sees when they run, but not when `torch.compile` traces them."""

NATIVE = ("relu", "silu", "gelu", "elu", "selu", "celu", "softplus", "hardswish", "mish")
"""Parts of the names by which TorchScript graphs call these functions."""


def function_spec(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ActivationSpec | None:
    """Return what a call of an activation function computes, None for any other function."""
    known = FUNCTIONS.get(function)
    if known is None:
        return None
    given = known.bind(args, kwargs)
    if known.name == "gelu":
        return _gelu(given.get("approximate", "none"))
    return _spec(known.name, given.get)


def overwrites(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call of an activation function writes its result into its input."""
    known = FUNCTIONS[function]
    return known.overwrites or bool(known.bind(args, kwargs).get("inplace", False))


def module_spec(module: nn.Module) -> ActivationSpec | None:
    """Return what an activation module computes, None for any other module.

    For a learned activation it is the name alone: its parameters are not read back.
    """
    target = f"{type(module).__module__}:{type(module).__qualname__}"
    # By exact class: a subclass, such as a fused twin, need not compute what the entry says.
    own = next((entry.name for entry in CATALOG.values() if entry.target == target), None)
    if isinstance(module, LearnedActivation):
        return ActivationSpec(own) if own else None
    if isinstance(module, nn.GELU):
        return _gelu(module.approximate)
    name = own or next((name for kind, name in _MODULES if isinstance(module, kind)), None)
    return _spec(name, lambda parameter: getattr(module, parameter)) if name else None


def _gelu(approximate: str) -> ActivationSpec:
    return ActivationSpec("gelu_tanh" if approximate == "tanh" else "gelu")


def _spec(name: str, value_of: Callable[[str], Any]) -> ActivationSpec | None:
    """Return the spec with the parameters that differ from the defaults.

    None where the catalogue refuses a value: such a call cannot be described, so it is no site.
    """
    params: dict[str, Scalar] = {}
    for parameter in get_entry(name).parameters:
        value = value_of(parameter.name)
        if value is not None and value != parameter.default:
            # `leaky_relu(x, 1)` and `leaky_relu(x, 1.0)` are one function: one fingerprint.
            params[parameter.name] = float(value) if isinstance(value, int) else value
    spec = ActivationSpec(name, params)
    try:
        validate(spec)
    except BadParameter:
        return None
    return spec
