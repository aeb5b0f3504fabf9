"""Standing in for a single call of an activation, where no module can be swapped.

A call is known by its number within a forward pass of the module that owns it. Classes,
methods, hooks and the names in the state dict of everything else stay as they are, because
only `forward` of the owning object is covered, by a callable that runs the one beneath.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_space.surgery.originals import function_spec

# The attribute of a module that holds what stands in for its functional calls.
CONTAINER = "actsearch_sites"


def key_of(function: str, number: int) -> str:
    """Return the name, within the container, of what stands in for a functional call."""
    return f"{function}_{number}"


class PerCall(nn.ModuleList):
    """Stands where a shared activation module stood: each of its calls has its own.

    Attributes:
        calls: Calls so far in the running forward pass of the owner, which sets it to 0.
        overwriting: Indices of the calls whose result must be written into their input.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__(modules)
        self.calls = 0
        self.overwriting: frozenset[int] = frozenset()

    def replace(self, number: int, module: nn.Module, *, overwrite: bool) -> None:
        """Let `module` compute call `number`, counted from 1."""
        self[number - 1] = module
        if overwrite:
            self.overwriting |= {number - 1}

    def forward(self, x: Tensor) -> Tensor:
        # A loop that runs longer than on the example batch goes on with the last site.
        index = min(self.calls, len(self) - 1)
        self.calls += 1
        return _activate(self[index], x, overwrite=index in self.overwriting)


class Substitution:
    """Covers `owner.forward`: numbers the calls within it, and has them stood in for.

    An owner with nothing to stand in for is covered too, if it runs within another covered
    one: its calls must not be counted as the other's.

    Attributes:
        table: For each function, what stands in for each of its calls, by its name in the
            container; None where the call is left as it is.
        overwriting: Functions and numbers of the calls that must write into their input.
        shared: The modules within the owner that number their own calls.
        shields: Nothing is stood in for, but calls are kept from the owners further out.
        traceable: Whether a compiler sees all the functional calls.
        lifted: Functional calls run as the network has them, while it is watched.
    """

    def __init__(self, owner: nn.Module) -> None:
        self.owner = owner
        self.beneath: Callable[..., Any] | None = owner.__dict__.get("forward")
        self.table: dict[str, list[str | None]] = {}
        self.overwriting: frozenset[tuple[str, int]] = frozenset()
        self.shared: list[PerCall] = []
        self.shields = False
        self.traceable = True
        self.lifted = False

    @staticmethod
    def covering(owner: nn.Module) -> "Substitution":
        """Return what covers `owner.forward`, which is covered now if it was not."""
        covering = owner.__dict__.get("forward")
        if not isinstance(covering, Substitution):
            covering = Substitution(owner)
            owner.forward = covering
        return covering

    def replace(
        self, function: str, number: int, count: int, module: nn.Module, *, overwrite: bool
    ) -> None:
        """Let `module` compute call `number` of `count` of a function, counted from 1."""
        if CONTAINER not in self.owner._modules:
            self.owner.add_module(CONTAINER, nn.ModuleDict().train(self.owner.training))
        key = key_of(function, number)
        self.owner.get_submodule(CONTAINER).add_module(key, module)
        keys = self.table.setdefault(function, [])
        keys += [None] * (count - len(keys))
        keys[number - 1] = key
        if overwrite:
            self.overwriting |= {(function, number)}

    def standing_in(self, function: str, number: int) -> tuple[nn.Module | None, bool]:
        """Return what stands in for a call, if anything, and whether it must overwrite."""
        keys = self.table.get(function, [])
        # A loop that runs longer than on the example batch goes on with the last site.
        number = min(number, len(keys))
        key = keys[number - 1] if keys else None
        if key is None:
            return None, False
        module = self.owner.get_submodule(f"{CONTAINER}.{key}")
        return module, (function, number) in self.overwriting

    @contextmanager
    def lifting(self) -> Iterator[None]:
        """Let functional calls run as the network has them, for a while."""
        self.lifted = True
        try:
            yield
        finally:
            self.lifted = False

    @property
    def __wrapped__(self) -> Any:
        """The forward beneath, for `inspect.signature`."""
        return self.beneath or MethodType(type(self.owner).forward, self.owner)

    @property
    def __code__(self) -> CodeType:
        """The code beneath: `torch.export` asks where a forward was written."""
        code: CodeType = self.__wrapped__.__code__
        return code

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A network may call itself: the outer pass goes on counting where it was.
        outer = [shared.calls for shared in self.shared]
        for shared in self.shared:
            shared.calls = 0
        result = self._run(*args, **kwargs)
        for shared, calls in zip(self.shared, outer, strict=True):
            shared.calls = calls
        return result

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if self.lifted or not (self.table or self.shields):
            return self._beneath(*args, **kwargs)
        run = self._numbered if self.traceable else self._numbered_eagerly
        return run(*args, **kwargs)

    def _numbered(self, *args: Any, **kwargs: Any) -> Any:
        with _Numbered(self):
            return self._beneath(*args, **kwargs)

    @torch.compiler.disable(  # type: ignore[no-untyped-call, untyped-decorator]
        reason="it calls torch.relu_, which a compiler cannot replace"
    )
    def _numbered_eagerly(self, *args: Any, **kwargs: Any) -> Any:
        return self._numbered(*args, **kwargs)

    def _beneath(self, *args: Any, **kwargs: Any) -> Any:
        if self.beneath is not None:
            return self.beneath(*args, **kwargs)
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
        module, overwrite = None, False
        # Only what is stood in for is counted: a backward pass, which a compiler traces under
        # this mode, may call such functions, but change nothing.
        if spec.name in self.substitution.table:
            number = self.counts.get(spec.name, 0) + 1
            self.counts[spec.name] = number
            module, overwrite = self.substitution.standing_in(spec.name, number)
        # Owners further out see neither this call nor those of what stands in for it.
        with torch._C.DisableTorchFunction():
            if module is None:
                return func(*args, **kwargs)
            x = args[0] if args else kwargs["input"]
            return _activate(module, x, overwrite=overwrite)


def _activate(module: nn.Module, x: Tensor, *, overwrite: bool) -> Tensor:
    """Return `module(x)`, written into `x` if others rely on that."""
    if not overwrite:
        y: Tensor = module(x)
        return y
    # The module may keep its input for the backward pass, so it gets one of its own.
    return x.copy_(module(x.clone()))
