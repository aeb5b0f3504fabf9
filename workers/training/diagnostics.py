"""Diagnostics of a network's activations in training: what goes wrong, and in which layer.

Within an epoch all numbers stay on the device, so that the host does not wait for it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
"""Fraction of a layer's units that may be constant over the example batch."""
MOST_OUTSIDE = 0.25
"""Fraction of a PWLU's inputs that may lie outside of its bounds."""
LARGEST_BETA = 100.0
"""With a larger one, ACON and Swish are almost a step, and the gradient of beta vanishes."""
BLOW_UP = 3.0
"""The training loss may rise to so many times its lowest value."""

_NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class _ActivationStats:
    """Statistics of one activation on the example batch; all numbers are on the device.

    Attributes:
        broken: Whether an output is not finite.
        dead: Fraction of units that are constant.
        outside: Fraction of inputs outside of a PWLU's bounds.
        beta: Largest absolute beta of an ACON or Swish.
        size: Root mean square of the outputs.
    """

    broken: Tensor
    dead: Tensor
    outside: Tensor
    beta: Tensor
    size: Tensor


class ActivationDiagnostics:
    """Checks every activation that is a module of the network.

    Args:
        live: Whether to check every step of the training. This finds the layer whose output
            first was not finite, and costs one sum for each activation and step.
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
        self._reported: set[tuple[str, str]] = set()

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Within, `after_step` records at which step each activation first was not finite."""
        self._step, self._broken_at = 0, None
        with forward_hooks(self._activations if self._live else (), self._add_sum):
            yield

    def after_step(self) -> None:
        self._step += 1
        if not self._sums:
            return
        # In the order of the forward pass: of several in the same step, the first is the cause.
        sums = torch.stack([self._sums[module] for module in self._sums])
        if self._broken_at is None:
            self._order = [self._activations[module] for module in self._sums]
            self._broken_at = torch.full_like(sums, _NEVER, dtype=torch.int64)
        now = torch.where(sums.isfinite(), _NEVER, self._step)
        # Another number of activations was run, as by layers that are skipped at random.
        if len(now) == len(self._broken_at):
            self._broken_at = torch.minimum(self._broken_at, now)
        self._sums.clear()

    def origin(self) -> str:
        """Return a phrase for the layer and step of this epoch that first was not finite."""
        steps = [] if self._broken_at is None else self._broken_at.tolist()
        first = min(steps, default=_NEVER)
        if not self._live:
            return "in a compiled network it is unknown which layer was first"
        if first == _NEVER:
            return "the outputs of all activations were finite"
        return f"first in the output of {self._order[steps.index(first)]}, at step {first}"

    @torch.no_grad()
    def check(self, x: Tensor, precision: Precision, train_loss: float) -> list[str]:
        """Return remarks on what is wrong after an epoch, without those of earlier epochs.

        Args:
            x: The example batch.
            train_loss: Mean of the epoch; it is finite.
        """
        stats: dict[nn.Module, _ActivationStats] = {}

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            stats.setdefault(module, _stats_of(module, inputs[0], output))

        training = self._model.training
        self._model.eval()
        with forward_hooks(self._activations, note), precision.autocast():
            self._model(x)
        self._model.train(training)
        names = [self._activations[module] for module in stats]
        # One transfer from the device for all numbers.
        rows = [torch.stack([v.float() for v in _fields(one)]) for one in stats.values()]
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
        if (kind, name) not in self._reported:
            self._reported.add((kind, name))
            yield f"{name}: {text}"

    def _add_sum(self, module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        # One number for each activation: a sum is not finite if one of its terms is not.
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
            # The parts of an activation are no sites of their own.
            inside.update(module.modules())
            yield _site(path), module


def _site(path: str) -> str:
    """Return the id of the site that the module at `path` computes."""
    owner, container, key = path.rpartition(f"{CONTAINER}.")
    if not container:
        return path
    function, _, number = key.rpartition("_")
    return f"{owner.removesuffix('.')}:{function}@{number}"


def _stats_of(module: nn.Module, x: Tensor, y: Tensor) -> _ActivationStats:
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
    return _ActivationStats(
        broken=(~y.isfinite()).any(),
        dead=(units.amax(dim=1) == units.amin(dim=1)).float().mean(),
        outside=outside,
        beta=beta,
        size=y.float().square().mean().sqrt(),
    )


def _fields(stats: _ActivationStats) -> tuple[Tensor, ...]:
    return stats.broken, stats.dead, stats.outside, stats.beta, stats.size


@contextmanager
def forward_hooks(modules: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """Call `hook` after each forward pass of the modules, within the context."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
