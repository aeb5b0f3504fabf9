"""Watching one run of a network: which activations are called, by whom, on what."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from search_space.spec import ActivationSpec, Place
from search_space.surgery.channels import Layouts
from search_space.surgery.originals import UNTRACEABLE, function_spec, module_spec, overwrites
from search_space.surgery.substitution import PerCall, Substitution


@dataclass(slots=True)
class Sighting:
    """A call of an activation, as it was seen.

    Attributes:
        original: What is computed; not the place's function, once it is replaced.
        in_place: The input was overwritten, and something besides the result reads it.
        elements: Numbers in the inputs of every pass of the owner together.
    """

    place: Place
    original: ActivationSpec
    shape: torch.Size
    channel_dim: int
    device: torch.device
    in_place: bool = False
    elements: int = 0

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return self.shape[self.channel_dim]


@dataclass(slots=True)
class _Frame:
    """A module whose forward is running; opaque if the module as a whole is a call."""

    path: str
    opaque: bool
    sighting: Sighting | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def holds(self, path: str) -> bool:
        """Whether the module at `path` is registered within this one."""
        return path != self.path and (self.path == "" or path.startswith(f"{self.path}."))


class Recorder(TorchFunctionMode):
    """Sees modules by hooks and functions as a mode.

    Attributes:
        seen: The first sighting of each site, in order.
        clashing: Ids of calls that met inputs of different numbers of channels, so that no
            activation with channels can stand there.
        callers: Paths of the modules within whose forward an activation function was called.
        untraceable: Those of them, with the function, whose call a compiler would not see.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.seen: dict[str, Sighting] = {}
        self.clashing: set[str] = set()
        self.callers: set[str] = set()
        self.untraceable: set[tuple[str, str]] = set()
        self._model = model
        self._paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(module, []).append(path)
        self._frames: list[_Frame] = []
        self._layouts = Layouts()
        # Inputs that were overwritten, kept alive so that nothing else gets their storage.
        self._overwritten: dict[int, tuple[Tensor, Sighting]] = {}

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Run the model and see all it calls."""
        with self._hooked(), self:
            result = self._model(*args, **kwargs)
        self._note_readers(result)

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self._paths:
                covering = module.__dict__.get("forward")
                if isinstance(covering, Substitution):
                    # The calls are to be seen where the network makes them.
                    stack.enter_context(covering.lifting())
                # TorchScript takes no hooks with keywords, and would not run them inside.
                if not isinstance(module, torch.jit.ScriptModule):
                    for handle in self._hook(module):
                        stack.callback(handle.remove)
            yield

    def _hook(self, module: nn.Module) -> Iterator[RemovableHandle]:
        # Closest to forward: what hooks of others call belongs to the module around.
        yield module.register_forward_pre_hook(self._enter, with_kwargs=True)
        yield module.register_forward_hook(
            self._leave, prepend=True, with_kwargs=True, always_call=True
        )

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        path = self._path(module)
        spec = module_spec(module) if path else None
        sighting = self._see_module(path, spec, _first_tensor((args, kwargs))) if spec else None
        self._frames.append(_Frame(path, opaque=spec is not None, sighting=sighting))

    def _leave(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        frame = self._frames.pop()
        x = _first_tensor((args, kwargs))
        if x is None or not isinstance(output, Tensor):
            return None
        # What happens inside TorchScript or an autograd function is not seen.
        self._layouts.inherit(output, x)
        return self._apart(x, frame.sighting) if frame.sighting and output is x else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # To ask for a shape or a device is not to read the numbers.
        if getattr(func, "__name__", "") != "__get__":
            self._note_readers((args, kwargs))
        spec = function_spec(func, args, kwargs)
        sighting = self._see_function(func, spec, args, kwargs) if spec and self._frames else None
        result = func(*args, **kwargs)
        self._layouts.follow(func, args, kwargs, result)
        if sighting is not None and overwrites(func, args, kwargs):
            return self._apart(result, sighting)
        return result

    def _path(self, module: nn.Module) -> str:
        """Return the module's path.

        Of several paths a shared activation has the one nearest to who calls it, so that
        its callers are told apart; anything else has its first.
        """
        paths = self._paths[module]
        for frame in reversed(self._frames):
            for path in paths:
                if frame.holds(path) and module_spec(module):
                    return path
        return paths[0]

    def _owner(self, path: str) -> _Frame:
        """Return the innermost running module that holds the one at `path`."""
        return next(frame for frame in reversed(self._frames) if frame.holds(path))

    def _see_module(self, path: str, spec: ActivationSpec, x: Tensor | None) -> Sighting | None:
        parent = path.rpartition(".")[0]
        shared = self._model.get_submodule(parent)
        if isinstance(shared, PerCall):
            owner, path = self._owner(parent), parent
            number = min(shared.calls, len(shared))
        else:
            owner = self._owner(path)
            owner.counts[path] += 1
            number = owner.counts[path]
        return self._see(Place(owner.path, path, spec.name, number), spec, x)

    def _see_function(
        self, func: Any, spec: ActivationSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Sighting | None:
        frame = self._frames[-1]
        self.callers.add(frame.path)
        if frame.opaque:
            return None
        if func in UNTRACEABLE:
            self.untraceable.add((frame.path, spec.name))
        key = f":{spec.name}"
        frame.counts[key] += 1
        place = Place(frame.path, None, spec.name, frame.counts[key])
        covering = self._model.get_submodule(frame.path).__dict__.get("forward")
        if isinstance(covering, Substitution):
            module, _ = covering.standing_in(spec.name, place.number)
            spec = (module_spec(module) if module else None) or spec
        return self._see(place, spec, _first_tensor((args, kwargs)))

    def _see(self, place: Place, original: ActivationSpec, x: Tensor | None) -> Sighting | None:
        """Return the sighting of this call, which is a new one in the first pass of its owner."""
        if x is None or x.dim() == 0:
            return None
        channel_dim = self._layouts.channel_dim(x)
        seen = self.seen.get(place.id)
        if seen is None:
            seen = Sighting(place, original, x.shape, channel_dim, x.device)
            self.seen[place.id] = seen
        elif seen.channels != x.shape[channel_dim] or seen.channel_dim != channel_dim:
            self.clashing.add(place.id)
        seen.elements += x.numel()
        return seen

    def _apart(self, overwritten: Tensor, sighting: Sighting) -> Tensor:
        """Return a copy of an overwritten input, so that its later readers can be told apart."""
        pointer = overwritten.untyped_storage().data_ptr()
        self._overwritten[pointer] = (overwritten, sighting)
        copy = overwritten.clone()
        self._layouts.inherit(copy, overwritten)
        return copy

    def _note_readers(self, values: Any) -> None:
        """Mark the calls whose overwritten input is among `values`, or shares its storage."""
        if not self._overwritten:
            return
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.layout is torch.strided:
                entry = self._overwritten.get(value.untyped_storage().data_ptr())
                if entry is not None:
                    entry[1].in_place = True


def _first_tensor(values: Any) -> Tensor | None:
    return next((v for v in tree_leaves(values) if isinstance(v, Tensor)), None)
