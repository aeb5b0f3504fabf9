"""Replaces a single call of an activation where no module can be swapped.

A call is identified by its number within one forward pass of the module that owns it. Only the
`forward` attribute of the owning object is replaced, by a callable that runs the original one.
Classes, methods, hooks and all other names in the state dict stay as they are.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_space.surgery.originals import function_spec

# The submodule of an owner that holds the replacements of its functional calls.
CONTAINER = "actsearch_sites"


def key_of(function: str, number: int) -> str:
    """Return the name, within the container, of the replacement of a functional call."""
    return f"{function}_{number}"


class PerCall(nn.ModuleList):
    """Takes the place of a shared activation module: each of its calls has its own module.

    Attributes:
        calls: Number of calls so far in the running forward pass of the owner. The owner sets
            it to 0 at the start of a pass.
        in_place: Indices of the calls whose result must be written into their input.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__(modules)
        self.calls = 0
        self.in_place: frozenset[int] = frozenset()

    def replace(self, number: int, module: nn.Module, *, in_place: bool) -> None:
        """Let `module` compute call `number`, counted from 1."""
        self[number - 1] = module
        if in_place:
            self.in_place |= {number - 1}

    def forward(self, x: Tensor) -> Tensor:
        # A loop that runs longer than on the example batch continues with the last site.
        index = min(self.calls, len(self) - 1)
        self.calls += 1
        return _activate(self[index], x, in_place=index in self.in_place)


class Substitution:
    """Wraps `owner.forward`: numbers the activation calls within it and replaces some of them.

    An owner without replacements is wrapped too if it runs within another wrapped owner: the
    outer owner must not count its calls.

    Attributes:
        replacements: For each function, the key in the container of the replacement of each
            call, by number; None where the call is left as it is.
        in_place: Functions and numbers of the calls that must write into their input.
        shared: The modules within the owner that number their own calls.
        is_isolated: Nothing is replaced, but the owners further out do not see the calls.
        traceable: Whether a compiler sees all the functional calls.
        is_suspended: Functional calls run as the network has them, while it is recorded.
    """

    def __init__(self, owner: nn.Module) -> None:
        self.owner = owner
        # Set where other code, such as a library, has replaced the forward of this object already.
        self._instance_forward: Callable[..., Any] | None = owner.__dict__.get("forward")
        self.replacements: dict[str, list[str | None]] = {}
        self.in_place: frozenset[tuple[str, int]] = frozenset()
        self.shared: list[PerCall] = []
        self.is_isolated = False
        self.traceable = True
        self.is_suspended = False

    @staticmethod
    def find(owner: nn.Module) -> "Substitution | None":
        """Return the substitution that wraps `owner.forward`, None if there is none."""
        # Set on the object, not on its class, so other objects of the class are not affected.
        forward = owner.__dict__.get("forward")
        return forward if isinstance(forward, Substitution) else None

    @staticmethod
    def wrap(owner: nn.Module) -> "Substitution":
        """Return the substitution that wraps `owner.forward`; make it if there is none."""
        substitution = Substitution.find(owner)
        if substitution is None:
            substitution = Substitution(owner)
            owner.forward = substitution
        return substitution

    def replace(
        self, function: str, number: int, count: int, module: nn.Module, *, in_place: bool
    ) -> None:
        """Let `module` compute call `number` of `count` of a function, counted from 1."""
        if CONTAINER not in self.owner._modules:
            self.owner.add_module(CONTAINER, nn.ModuleDict().train(self.owner.training))
        key = key_of(function, number)
        self.owner.get_submodule(CONTAINER).add_module(key, module)
        keys = self.replacements.setdefault(function, [])
        keys += [None] * (count - len(keys))
        keys[number - 1] = key
        if in_place:
            self.in_place |= {(function, number)}

    def replacement_of(self, function: str, number: int) -> tuple[nn.Module | None, bool]:
        """Return the replacement of a call, if any, and whether it must write into its input."""
        keys = self.replacements.get(function, [])
        # A loop that runs longer than on the example batch continues with the last site.
        number = min(number, len(keys))
        key = keys[number - 1] if keys else None
        if key is None:
            return None, False
        # Looked up by name, not kept: `fold` puts other modules into the container.
        module = self.owner.get_submodule(f"{CONTAINER}.{key}")
        return module, (function, number) in self.in_place

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let functional calls run as the network has them."""
        self.is_suspended = True
        try:
            yield
        finally:
            self.is_suspended = False

    @property
    def __wrapped__(self) -> Any:
        """The original forward, for `inspect.signature`."""
        return self._instance_forward or MethodType(type(self.owner).forward, self.owner)

    @property
    def __code__(self) -> CodeType:
        """The code of the original forward: `torch.export` asks where a forward was written."""
        code: CodeType = self.__wrapped__.__code__
        return code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A network may call itself: the outer pass continues to count where it was.
        outer = [shared.calls for shared in self.shared]
        for shared in self.shared:
            shared.calls = 0
        result = self._run(*args, **kwargs)
        for shared, calls in zip(self.shared, outer, strict=True):
            shared.calls = calls
        return result

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        # Without functional calls to number no mode is entered: it would slow every torch call.
        if self.is_suspended or not (self.replacements or self.is_isolated):
            return self._original(*args, **kwargs)
        run = self._numbered if self.traceable else self._numbered_eagerly
        return run(*args, **kwargs)

    def _numbered(self, *args: Any, **kwargs: Any) -> Any:
        with _Numbered(self):
            return self._original(*args, **kwargs)

    @torch.compiler.disable(  # type: ignore[no-untyped-call, untyped-decorator]
        reason="it calls torch.relu_, which a compiler cannot replace"
    )
    def _numbered_eagerly(self, *args: Any, **kwargs: Any) -> Any:
        return self._numbered(*args, **kwargs)

    def _original(self, *args: Any, **kwargs: Any) -> Any:
        if self._instance_forward is not None:
            return self._instance_forward(*args, **kwargs)
        return type(self.owner).forward(self.owner, *args, **kwargs)


class _Numbered(TorchFunctionMode):
    """Numbers the calls of activation functions in one forward pass of one module."""

    def __init__(self, substitution: Substitution) -> None:
        super().__init__()
        self.substitution = substitution
        self.counts: dict[str, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        spec = function_spec(func, args, kwargs)
        if spec is None:
            return func(*args, **kwargs)
        module, in_place = None, False
        # Only functions with replacements are counted: a backward pass that a compiler traces
        # under this mode may call other functions, and must not change anything here.
        if spec.name in self.substitution.replacements:
            number = self.counts.get(spec.name, 0) + 1
            self.counts[spec.name] = number
            module, in_place = self.substitution.replacement_of(spec.name, number)
        # Owners further out must see neither this call nor the calls of its replacement.
        with torch._C.DisableTorchFunction():
            if module is None:
                return func(*args, **kwargs)
            x = args[0] if args else kwargs["input"]
            return _activate(module, x, in_place=in_place)


def _activate(module: nn.Module, x: Tensor, *, in_place: bool) -> Tensor:
    """Return `module(x)`, written into `x` if other code relies on that."""
    if not in_place:
        y: Tensor = module(x)
        return y
    # The module may keep its input for the backward pass, so it gets a copy that stays as it is.
    return x.copy_(module(x.clone()))
