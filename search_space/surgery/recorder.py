"""Records one run of a network: which activations are called, by which module, on what."""

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
from search_space.surgery.channels import ChannelTracker
from search_space.surgery.originals import UNTRACEABLE, function_spec, module_spec, overwrites
from search_space.surgery.substitution import PerCall, Substitution


@dataclass(slots=True)
class RecordedCall:
    """A call of an activation, as it was recorded.

    Attributes:
        original: What is computed; once the call is replaced, not the place's function.
        in_place: The input was overwritten, and something besides the result reads it.
        elements: Numbers in the inputs of all passes of the owner together.
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
class _RunningModule:
    """A module whose forward is running.

    Attributes:
        is_activation: The module as a whole is a call, so its own calls are not recorded.
        call: What was recorded of it, if it is one.
        counts: Number of calls so far, by target path or by `:function`.
    """

    path: str
    is_activation: bool
    call: RecordedCall | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def contains(self, path: str) -> bool:
        """Whether the module at `path` is registered within this one."""
        return path != self.path and (self.path == "" or path.startswith(f"{self.path}."))


class Recorder(TorchFunctionMode):
    """Records module calls by hooks and function calls as a torch function mode.

    Attributes:
        calls: The first recorded call of each site, by its id, in order.
        conflicting: Ids of calls whose inputs had different numbers of channels, so that no
            activation with channels can stand there.
        callers: Paths of the modules within whose forward an activation function was called.
        untraceable: Paths and functions of those calls that a compiler would not see.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: dict[str, RecordedCall] = {}
        self.conflicting: set[str] = set()
        self.callers: set[str] = set()
        self.untraceable: set[tuple[str, str]] = set()
        self._model = model
        # With duplicates, because a shared module is reached under each of its names.
        self._paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(module, []).append(path)
        # Innermost last.
        self._running: list[_RunningModule] = []
        self._channels = ChannelTracker()
        # Inputs that were overwritten, by address, kept alive so that no other tensor gets
        # their storage.
        self._overwritten: dict[int, tuple[Tensor, RecordedCall]] = {}

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Run the model and record all activations that it calls."""
        with self._hooked(), self:
            result = self._model(*args, **kwargs)
        self._mark_readers(result)

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self._paths:
                substitution = Substitution.find(module)
                if substitution is not None:
                    # A second `apply` needs the calls where the network makes them.
                    stack.enter_context(substitution.suspended())
                # TorchScript takes no hooks with keywords, and would not run them inside.
                if not isinstance(module, torch.jit.ScriptModule):
                    for handle in self._hook(module):
                        stack.callback(handle.remove)
            yield

    def _hook(self, module: nn.Module) -> Iterator[RemovableHandle]:
        # Appended before and prepended after, so closest to forward: what the hooks of others
        # call belongs to the module around.
        yield module.register_forward_pre_hook(self._enter, with_kwargs=True)
        yield module.register_forward_hook(
            # Always, so that a forward that raises leaves no running module behind.
            self._leave,
            prepend=True,
            with_kwargs=True,
            always_call=True,
        )

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        path = self._path(module)
        # The root has no place to be replaced at.
        spec = module_spec(module) if path else None
        call = self._record_module(path, spec, _first_tensor((args, kwargs))) if spec else None
        self._running.append(_RunningModule(path, is_activation=spec is not None, call=call))

    def _leave(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        running = self._running.pop()
        x = _first_tensor((args, kwargs))
        if x is None or not isinstance(output, Tensor):
            return None
        # The mode does not see what happens inside TorchScript or an autograd function.
        self._channels.inherit(output, x)
        # The same tensor comes back only from a module that has overwritten its input.
        return self._copy_overwritten(x, running.call) if running.call and output is x else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # Reading a shape or a device is not reading the numbers.
        if getattr(func, "__name__", "") != "__get__":
            self._mark_readers((args, kwargs))
        spec = function_spec(func, args, kwargs)
        call = self._record_function(func, spec, args, kwargs) if spec and self._running else None
        result = func(*args, **kwargs)
        self._channels.track(func, args, kwargs, result)
        if call is not None and overwrites(func, args, kwargs):
            return self._copy_overwritten(result, call)
        return result

    def _path(self, module: nn.Module) -> str:
        """Return the module's path.

        A shared activation with several paths gets the one within its caller, so that its
        callers have different sites; any other module gets its first.
        """
        paths = self._paths[module]
        for running in reversed(self._running):
            for path in paths:
                if running.contains(path) and module_spec(module):
                    return path
        return paths[0]

    def _owner(self, path: str) -> _RunningModule:
        """Return the innermost running module that contains the one at `path`."""
        return next(running for running in reversed(self._running) if running.contains(path))

    def _record_module(
        self, path: str, spec: ActivationSpec, x: Tensor | None
    ) -> RecordedCall | None:
        parent = path.rpartition(".")[0]
        shared = self._model.get_submodule(parent)
        if isinstance(shared, PerCall):
            # An earlier `apply` put it there: the site is the shared module's, not its child's.
            owner, path = self._owner(parent), parent
            number = min(shared.calls, len(shared))
        else:
            owner = self._owner(path)
            owner.counts[path] += 1
            number = owner.counts[path]
        return self._record(Place(owner.path, path, spec.name, number), spec, x)

    def _record_function(
        self, func: Any, spec: ActivationSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> RecordedCall | None:
        owner = self._running[-1]
        self.callers.add(owner.path)
        if owner.is_activation:
            return None
        if func in UNTRACEABLE:
            self.untraceable.add((owner.path, spec.name))
        key = f":{spec.name}"
        owner.counts[key] += 1
        place = Place(owner.path, None, spec.name, owner.counts[key])
        substitution = Substitution.find(self._model.get_submodule(owner.path))
        if substitution is not None:
            # The place keeps the function that the network calls; the original is what an
            # earlier `apply` has put there.
            module, _ = substitution.replacement_of(spec.name, place.number)
            spec = (module_spec(module) if module else None) or spec
        return self._record(place, spec, _first_tensor((args, kwargs)))

    def _record(
        self, place: Place, original: ActivationSpec, x: Tensor | None
    ) -> RecordedCall | None:
        """Return what is known of this call: a new record in the first pass of its owner."""
        # A number without dimensions has no channels, so its call is no site.
        if x is None or x.dim() == 0:
            return None
        channel_dim = self._channels.channel_dim(x)
        call = self.calls.get(place.id)
        if call is None:
            call = RecordedCall(place, original, x.shape, channel_dim, x.device)
            self.calls[place.id] = call
        elif call.channels != x.shape[channel_dim] or call.channel_dim != channel_dim:
            self.conflicting.add(place.id)
        call.elements += x.numel()
        return call

    def _copy_overwritten(self, overwritten: Tensor, call: RecordedCall) -> Tensor:
        """Return a copy of an overwritten input as the result of the call.

        The network reads the result from the copy, so every later read of the input itself
        shows that something besides the result needs it.
        """
        pointer = overwritten.untyped_storage().data_ptr()
        self._overwritten[pointer] = (overwritten, call)
        copy = overwritten.clone()
        self._channels.inherit(copy, overwritten)
        return copy

    def _mark_readers(self, values: Any) -> None:
        """Mark the calls whose overwritten input is among `values`, or shares its storage."""
        if not self._overwritten:
            return
        for value in tree_leaves(values):
            # Sparse tensors have no single storage to compare.
            if isinstance(value, Tensor) and value.layout is torch.strided:
                entry = self._overwritten.get(value.untyped_storage().data_ptr())
                if entry is not None:
                    entry[1].in_place = True


def _first_tensor(values: Any) -> Tensor | None:
    return next((v for v in tree_leaves(values) if isinstance(v, Tensor)), None)
