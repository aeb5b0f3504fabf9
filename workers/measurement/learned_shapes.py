"""The curves of a trained network's activations, as small data for plots."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from search_space.activations.acon import MetaAcon
from search_space.activations.learned import LearnedActivation
from search_space.activations.pwlu import PWLU
from search_space.build import build
from search_space.catalog.lookup import get_entry
from search_space.sites import arguments
from search_space.spec import ActivationSpec, Candidate, Site, SitePlan
from search_space.surgery.substitution import CONTAINER, PerCall, key_of
from workers.measurement.form import device_of
from workers.measurement.nearest import likeness

_VERSION = 1
_POINTS = 65
_MOST_CURVES = 8
_MOST_SAMPLES = 64
_QUANTILES = (0.01, 0.99)
# Shown at least on both sides of 0, so that both slopes are seen if all inputs have one sign.
_LEAST_REACH = 3.0
_MOST_VALUES = 1_000_000
# Of a history.
_MOST_EPOCHS = 32
_KEPT_CURVES = 4
_BINS = 16


def learned_shapes(
    model: nn.Module, plan: SitePlan, candidate: Candidate, example_batch: Any
) -> bytes:
    """Return JSON with the curves of every site that the candidate names.

    Each has the grid `x` and one curve for each of at most eight `channels` (one if all are
    equal). `low` and `high` are the 1st and 99th percentile of the site's input on the example
    batch, and `density` is the fraction of the inputs between two neighbouring points of the
    grid; all three are null for a function left in place, whose input cannot be observed. PWLU
    has `knots`, the inputs at which its pieces meet, for each channel. Meta-ACON has `switches`,
    beta of at most 64 samples for each channel. `nearest`, `nearest_r2` and `line_r2` are those
    of `workers.measurement.nearest`.
    """
    inputs = _inputs(model, plan, example_batch)
    sites = []
    for site in (*plan.sites, *plan.gates):
        if site.id in candidate.sites:
            shape = _shape(model, site, candidate.sites[site.id], inputs.get(site.id))
            curves = torch.tensor(shape["curves"])
            like = likeness(torch.tensor(shape["x"]), curves, inputs.get(site.id))
            sites.append(shape | like)
    return json.dumps({"version": _VERSION, "sites": sites}, allow_nan=False).encode()


class ShapeHistory:
    """The curves of the sites with learned activations after each epoch.

    It stays small: at most 32 epochs (when there are more, every second one is removed, and from
    then on every second, fourth, ... is recorded), four channels and 33 points.

    Attributes:
        epochs: One entry for each recorded epoch: its number from 1 as `epoch`, and `sites`. A
            site has `left` and `right`, between which its `curves` are on an even grid; the
            `histogram` of its inputs, as fractions in 16 bins of that range, or null if they
            cannot be observed; and the `knots` or `switches` of its activation.
    """

    def __init__(self, plan: SitePlan, candidate: Candidate) -> None:
        self.epochs: list[dict[str, Any]] = []
        self._specs = candidate.sites
        self._plan = plan
        self._sites = [
            site
            for site in (*plan.sites, *plan.gates)
            if site.id in candidate.sites and get_entry(candidate.sites[site.id].name).learned
        ]

    def record(self, epoch: int, model: nn.Module, example_batch: Any) -> None:
        """Record the curves after an epoch, counted from 1, unless its number is left out."""
        if not self._sites or epoch % self._stride:
            return
        inputs = _inputs(model, self._plan, example_batch)
        sites = [
            _small(_shape(model, site, self._specs[site.id], given), given)
            for site in self._sites
            for given in (inputs.get(site.id),)
        ]
        self.epochs.append({"epoch": epoch, "sites": sites})
        if len(self.epochs) > _MOST_EPOCHS:
            kept = 2 * self._stride
            self.epochs = [one for one in self.epochs if one["epoch"] % kept == 0]

    def document(self) -> bytes:
        """Return the history as JSON."""
        return json.dumps({"version": _VERSION, "epochs": self.epochs}, allow_nan=False).encode()

    @property
    def _stride(self) -> int:
        """Every so many epochs are recorded."""
        # The first epoch that is left is the stride itself: removal keeps multiples of it. So a
        # resumed training has the same stride, with nothing more in the checkpoint.
        return self.epochs[0]["epoch"] if self.epochs else 1


def module_at(model: nn.Module, site: str) -> nn.Module | None:
    """Return the module that computes `site`; None for a functional call left in place."""
    path, number = _parts(site)
    owner, colon, function = path.rpartition(":")
    if colon:
        held = model.get_submodule(owner)._modules.get(CONTAINER)
        return held._modules.get(key_of(function, number)) if held is not None else None
    found = model.get_submodule(path)
    return found[number - 1] if isinstance(found, PerCall) else found


def _parts(site: str) -> tuple[str, int]:
    path, at, number = site.rpartition("@")
    return (path, int(number)) if at else (site, 1)


def _small(shape: dict[str, Any], inputs: Tensor | None) -> dict[str, Any]:
    """Return the part of a shape that a history keeps."""
    left, right = shape["x"][0], shape["x"][-1]
    stride = -(-len(shape["curves"]) // _KEPT_CURVES)
    curves = shape["curves"][::stride]
    return {
        "site": shape["site"],
        "left": _rounded(left),
        "right": _rounded(right),
        "curves": [[_rounded(y) for y in curve[::2]] for curve in curves],
        "histogram": None if inputs is None else _histogram(inputs, left, right),
        **{
            name: [[_rounded(one) for one in channel] for channel in shape[name][::stride]]
            for name in ("knots", "switches")
            if name in shape
        },
    }


def _histogram(inputs: Tensor, left: float, right: float) -> list[float]:
    values = inputs.detach().float().flatten()
    counts = torch.histc(values[values.isfinite()], _BINS, left, right)
    return [_rounded(share) for share in (counts / max(1, values.numel())).tolist()]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


@torch.no_grad()
def _shape(
    model: nn.Module, site: Site, spec: ActivationSpec, inputs: Tensor | None
) -> dict[str, Any]:
    module = module_at(model, site.id)
    if module is None:
        module = build(spec, channels=site.channels, channel_dim=site.channel_dim)
    low, high = _range(inputs)
    left, right = min(low or 0.0, -_LEAST_REACH), max(high or 0.0, _LEAST_REACH)
    like = next(iter(module.parameters()), torch.empty(0))
    x = torch.linspace(left, right, _POINTS, dtype=torch.float32)
    # Channels are both dimension 1 and the last one of this grid.
    grid = x.to(like.device, like.dtype)[:, None].repeat(1, site.channels)
    channels = _channels(module, spec, site)
    curves = _evaluate(module, grid, inputs)[:, channels].float().T.cpu()
    return {
        "site": site.id,
        "activation": spec.name,
        "original": site.original,
        "x": x.tolist(),
        "channels": channels,
        "curves": curves.tolist(),
        "low": low,
        "high": high,
        "density": _density(inputs, x),
        **_particulars(module, channels, inputs),
    }


def _density(inputs: Tensor | None, x: Tensor) -> list[float] | None:
    if inputs is None:
        return None
    values = _thinned(inputs)
    edges = (float(x[0]), float(x[-1]))
    counts = torch.histc(values[values.isfinite()], len(x) - 1, *edges)
    return [round(share, 5) for share in (counts / max(values.numel(), 1)).tolist()]


def _particulars(module: nn.Module, channels: list[int], inputs: Tensor | None) -> dict[str, Any]:
    if isinstance(module, PWLU):
        segments = module.values.shape[1] - 1
        share = torch.linspace(0, 1, segments + 1, device=module.left.device)
        knots = torch.lerp(module.left[:, None], module.right[:, None], share)[channels]
        return {"knots": knots.float().cpu().tolist()}
    if isinstance(module, MetaAcon) and module.each != "pixel" and inputs is not None:
        with _evaluation(module):
            switches = module.switch(inputs[:_MOST_SAMPLES])
        shown = switches[:, channels] if switches.shape[1] > 1 else switches
        return {"switches": shown.float().T.cpu().tolist()}
    return {}


def _evaluate(module: nn.Module, grid: Tensor, inputs: Tensor | None) -> Tensor:
    with _evaluation(module):
        # A learned activation may need statistics of its real inputs, besides the grid.
        if isinstance(module, LearnedActivation):
            return module.curve(grid, inputs)
        y: Tensor = module(grid)
    return y


def _channels(module: nn.Module, spec: ActivationSpec, site: Site) -> list[int]:
    if not isinstance(module, LearnedActivation) or spec.share == "layer":
        return [0]
    picked = torch.linspace(0, site.channels - 1, min(site.channels, _MOST_CURVES))
    return [int(channel) for channel in picked.round()]


def _range(inputs: Tensor | None) -> tuple[float | None, float | None]:
    if inputs is None:
        return None, None
    values = _thinned(inputs)
    low, high = torch.quantile(values, values.new_tensor(_QUANTILES)).tolist()
    return low, high


def _thinned(inputs: Tensor) -> Tensor:
    # `torch.quantile` refuses more than 16 million values.
    values = inputs.detach().float().flatten()
    return values[:: values.numel() // _MOST_VALUES + 1]


@torch.no_grad()
def _inputs(model: nn.Module, plan: SitePlan, example_batch: Any) -> Mapping[str, Tensor]:
    """Return the input of each site when the model evaluates the example batch."""
    seen: dict[nn.Module, list[Tensor]] = defaultdict(list)
    modules = {site.id: module_at(model, site.id) for site in (*plan.sites, *plan.gates)}

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen[module].append(args[0].detach().clone())

    hooks = [m.register_forward_pre_hook(note) for m in set(modules.values()) if m is not None]
    try:
        with _evaluation(model):
            _call(model, example_batch)
    finally:
        for hook in hooks:
            hook.remove()
    inputs = {site: seen[m] for site, m in modules.items() if m is not None and m in seen}
    return {site: _of_call(site, calls) for site, calls in inputs.items()}


def _of_call(site: str, calls: list[Tensor]) -> Tensor:
    """Return the input of the site's own call, of a module that is called several times."""
    # A module that replaces one call of a function is called once, whatever the call's number.
    return calls[min(_parts(site)[1], len(calls)) - 1]


def _call(model: nn.Module, example_batch: Any) -> None:
    # A script may move the network to a GPU after `apply`, and leave the example batch behind.
    device = device_of(model)
    args, kwargs = tree_map_only(Tensor, lambda x: x.to(device), arguments(example_batch))
    model(*args, **kwargs)


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation, and afterwards back into the mode that they had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
