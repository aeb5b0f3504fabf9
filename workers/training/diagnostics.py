"""Watches the activations of a network while it trains, and says what goes wrong, and where.

Within an epoch everything stays on the device: nobody waits for a number before its end.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_space.activations.learned import LearnedActivation, PhasedActivation
from search_space.activations.pwlu import PWLU
from search_space.surgery.originals import module_spec
from search_space.surgery.substitution import CONTAINER
from workers.training.precision import Precision

MOST_DEAD = 0.5
"""Share of a layer's units that may be constant over the example batch."""
MOST_OUTSIDE = 0.25
"""Share of a PWLU's inputs that may lie outside of its bounds."""
LARGEST_BETA = 100.0
"""Beyond it an ACON or Swish is a switch, whose beta has no gradient left."""
BLOW_UP = 3.0
"""How many times its lowest the training loss may rise to."""

_NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class _Look:
    """What one activation did to the example batch; all numbers on the device."""

    broken: Tensor
    dead: Tensor
    outside: Tensor
    beta: Tensor
    size: Tensor


class Watch:
    """Watches every activation that is a module of the network.

    Args:
        live: Whether to look at every step of the training, which finds the layer in which
            numbers first stopped being finite, and costs one sum for every activation.
    """

    def __init__(self, model: nn.Module, *, live: bool = True) -> None:
        self._model = model
        self._live = live
        self._activations = {module: name for name, module in activations(model)}
        self._sums: dict[nn.Module, Tensor] = {}
        self._broken_at: Tensor | None = None
        self._order: list[str] = []
        self._step = 0
        self._lowest = math.inf
        self._sizes: Mapping[str, float] = {}
        self._told: set[tuple[str, str]] = set()

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Within, `after_step` notes at which steps which activations gave no finite numbers."""
        self._step, self._broken_at = 0, None
        with _hooked(self._activations if self._live else (), self._note_sum):
            yield

    def after_step(self) -> None:
        self._step += 1
        if not self._sums:
            return
        # In the order of the first forward pass, which names the first of several.
        sums = torch.stack([self._sums[module] for module in self._sums])
        if self._broken_at is None:
            self._order = [self._activations[module] for module in self._sums]
            self._broken_at = torch.full_like(sums, _NEVER, dtype=torch.int64)
        now = torch.where(sums.isfinite(), _NEVER, self._step)
        if len(now) == len(self._broken_at):
            self._broken_at = torch.minimum(self._broken_at, now)
        self._sums.clear()

    def origin(self) -> str:
        """Return where in this epoch numbers first stopped being finite, in words."""
        steps = [] if self._broken_at is None else self._broken_at.tolist()
        first = min(steps, default=_NEVER)
        if not self._live:
            return "in a compiled network nobody sees which layer was first"
        if first == _NEVER:
            return "the outputs of all activations were finite"
        return f"first in the output of {self._order[steps.index(first)]}, at step {first}"

    @torch.no_grad()
    def look(self, x: Tensor, precision: Precision, train_loss: float) -> list[str]:
        """Return what is wrong after an epoch and was not said before.

        Args:
            x: The example batch, which is evaluated.
            train_loss: Mean of the epoch, finite.
        """
        looks: dict[nn.Module, _Look] = {}

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            looks.setdefault(module, _look(module, inputs[0], output))

        training = self._model.training
        self._model.eval()
        with _hooked(self._activations, note), precision.autocast():
            self._model(x)
        self._model.train(training)
        names = [self._activations[module] for module in looks]
        rows = [torch.stack([v.float() for v in _fields(one)]) for one in looks.values()]
        found = torch.stack(rows).tolist() if rows else []
        remarks = [
            remark
            for name, row in zip(names, found, strict=True)
            for remark in self._remarks(name, row)
        ]
        return [*remarks, *self._blow_up(names, found, train_loss)]

    def _remarks(self, name: str, row: Sequence[float]) -> Iterator[str]:
        broken, dead, outside, beta, _ = row
        if broken > 0:
            yield from self._once("broken", name, "gives numbers that are not finite")
        if dead > MOST_DEAD:
            text = f"{dead:.0%} of the units are dead: constant over the example batch"
            yield from self._once("dead", name, text)
        if outside > MOST_OUTSIDE:
            text = f"{outside:.0%} of the inputs lie outside of the PWLU's bounds"
            yield from self._once("outside", name, text)
        if beta > LARGEST_BETA:
            text = f"beta has grown to {beta:.3g}: the activation has become a switch"
            yield from self._once("beta", name, text)

    def _blow_up(
        self, names: Sequence[str], found: Sequence[Sequence[float]], loss: float
    ) -> Iterator[str]:
        sizes = {name: row[-1] for name, row in zip(names, found, strict=True)}
        if loss < self._lowest:
            self._lowest, self._sizes = loss, sizes
        elif loss > BLOW_UP * self._lowest:
            grown = {
                name: size / self._sizes[name] for name, size in sizes.items() if self._sizes[name]
            }
            name = max(grown, key=grown.__getitem__, default="")
            where = f"; its output grew most, {grown[name]:.3g} times" if name else ""
            text = f"the training loss rose from {self._lowest:.3g} to {loss:.3g}{where}"
            yield from self._once("loss", name or "the network", text)

    def _once(self, kind: str, name: str, text: str) -> Iterator[str]:
        if (kind, name) not in self._told:
            self._told.add((kind, name))
            yield f"{name}: {text}"

    def _note_sum(self, module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        total = output.detach().sum(dtype=torch.float32)
        before = self._sums.get(module)
        self._sums[module] = total if before is None else before + total


def activations(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module that is an activation, under the id of its site."""
    inside: set[nn.Module] = set()
    for path, module in model.named_modules():
        if module not in inside and (
            isinstance(module, LearnedActivation) or module_spec(module) is not None
        ):
            inside.update(module.modules())
            yield _site(path), module


def _site(path: str) -> str:
    """Return the id of the site that the module at `path` computes."""
    owner, container, key = path.rpartition(f"{CONTAINER}.")
    if not container:
        return path
    function, _, number = key.rpartition("_")
    return f"{owner.removesuffix('.')}:{function}@{number}"


def _look(module: nn.Module, x: Tensor, y: Tensor) -> _Look:
    zero = torch.zeros((), device=y.device)
    channel_dim = getattr(module, "channel_dim", 1 if y.dim() in (2, 4, 5) else -1)
    units = y.movedim(channel_dim, 0).flatten(1)
    outside = beta = zero
    if isinstance(module, PWLU) and not module.collecting:
        rows = x.movedim(module.channel_dim, 0).flatten(1)
        left, right = module.left[:, None], module.right[:, None]
        outside = ((rows < left) | (rows > right)).float().mean()
    held = getattr(module, "beta", None)
    if isinstance(held, nn.Parameter) and not isinstance(module, PhasedActivation):
        beta = held.abs().max()
    return _Look(
        broken=(~y.isfinite()).any(),
        dead=(units.amax(dim=1) == units.amin(dim=1)).float().mean(),
        outside=outside,
        beta=beta,
        size=y.float().square().mean().sqrt(),
    )


def _fields(look: _Look) -> tuple[Tensor, ...]:
    return look.broken, look.dead, look.outside, look.beta, look.size


@contextmanager
def _hooked(
    modules: Mapping[nn.Module, str] | tuple[()], hook: Callable[..., None]
) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
