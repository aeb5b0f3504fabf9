"""Putting the activations of a candidate into a network, in place."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from search_space import catalog
from search_space.activations.learned import learned_parameters
from search_space.build import build, has_fused_twin
from search_space.errors import NoSuchSite, SitesDiffer
from search_space.originals import module_spec
from search_space.sites import Call, Probe, probe
from search_space.spec import ActivationConfig, ActivationSpec, Candidate, Site, SitePlan
from search_space.substitution import CONTAINER, PerCall, Substitution
from search_space.watch import Place

Assignment = Mapping[str, ActivationSpec] | Candidate | ActivationConfig


def apply(
    model: nn.Module, candidate: Assignment, example_batch: Any, *, fused: bool = False
) -> nn.Module:
    """Put the activations of `candidate` into `model`, in place, and return it.

    A module that is called once is swapped. A call of a shared module or of a function is
    stood in for by its number within the owning module's forward; the new activations are
    submodules there. A site whose spec is its own original is left untouched, and so is a
    site that a mapping or a candidate does not name. Gradients, optimizers and copies made
    before know nothing of the new parameters.

    Args:
        candidate: Specs by site id, a candidate, or a config, which must have been made on
            the same sites.
        example_batch: As for `find_sites`, which runs first.
        fused: Compute those that have a fused twin by its kernel; parameters and their names
            are the same.

    Raises:
        NoSuchSite: If one id is not a site of the network.
        SitesDiffer: If several are not, or if the sites are not those of the config.
        UnknownActivation: If the catalogue does not hold a name.
        BadParameter: If a parameter, share or start is not one of the activation's.
        UnfitActivation: If an activation cannot stand at its site.
    """
    found = probe(model, example_batch)
    specs = _specs(candidate, found.plan)
    for site, spec in specs.items():
        catalog.check_fit(catalog.check(spec), found.calls[site].site)
    changed = {id: spec for id, spec in specs.items() if _differs(spec, found.calls[id].site)}
    dtype = _floating_dtype(model)
    for id, spec in changed.items():
        call = found.calls[id]
        _place(model, found, call, _module(spec, call, dtype, fused=fused))
    _shield(model, found.callers)
    if changed:
        _close_short_cuts(model)
    return model


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float = 0.0, factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return two optimizer groups: everything else, and the parameters of activations.

    Those of activations have `factor` times the rate and no decay, which would pull slopes
    and tables to 0 and bounds together. They are found by the type of their module. There
    are two groups even where one is empty, so that optimizers of all candidates of a search
    look alike; torch's optimizers take an empty group.
    """
    learned = learned_parameters(model)
    own = set(learned)
    others = [parameter for parameter in model.parameters() if parameter not in own]
    return [
        {"params": others, "lr": lr, "weight_decay": weight_decay},
        {"params": learned, "lr": lr * factor, "weight_decay": 0.0},
    ]


def _specs(candidate: Assignment, plan: SitePlan) -> Mapping[str, ActivationSpec]:
    """Return the specs by site id, all of which are sites of the plan."""
    known = [site.id for site in (*plan.sites, *plan.gates)]
    if isinstance(candidate, ActivationConfig):
        _check_same(candidate.plan, plan)
        candidate = candidate.candidate
    specs = candidate.sites if isinstance(candidate, Candidate) else candidate
    unknown = [id for id in specs if id not in known]
    if len(unknown) == 1:
        raise NoSuchSite("sites", unknown[0], known)
    if unknown:
        raise SitesDiffer(unknown, (), ())
    return specs


def _check_same(expected: SitePlan, found: SitePlan) -> None:
    """Raise `SitesDiffer` with every difference between two plans."""
    theirs, ours = ({site.id: site for site in plan.sites} for plan in (expected, found))
    sizes = attrgetter("rank", "channels", "channel_dim", "original_spec")
    missing = [id for id in theirs if id not in ours]
    extra = [id for id in ours if id not in theirs]
    both = [id for id in theirs if id in ours]
    mis_sized = [id for id in both if sizes(theirs[id]) != sizes(ours[id])]
    if missing or extra or mis_sized:
        raise SitesDiffer(missing, extra, mis_sized)


def _differs(spec: ActivationSpec, site: Site) -> bool:
    """Whether `spec` is anything but the site's own activation."""
    entry = catalog.lookup(spec.name)
    same = spec.name == site.original and entry.values(spec) == entry.values(site.original_spec)
    return entry.learned or not same


def _floating_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the model's first floating parameter, else torch's default."""
    dtypes = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(dtypes, torch.get_default_dtype())


def _module(spec: ActivationSpec, call: Call, dtype: torch.dtype, *, fused: bool) -> nn.Module:
    site = call.site
    module = build(
        spec,
        channels=site.channels,
        channel_dim=site.channel_dim,
        fused=fused and has_fused_twin(spec),
    )
    return module.to(call.device, dtype)


def _place(model: nn.Module, found: Probe, call: Call, module: nn.Module) -> None:
    """Let `module` compute what `call` computes."""
    owner = model.get_submodule(call.place.owner)
    module.train(owner.training)
    twins = [c for c in found.calls.values() if _same_target(c.place, call.place)]
    count = max(c.place.number for c in twins)
    if call.place.target is None:
        covering = Substitution.covering(owner)
        covering.traceable &= (call.place.owner, call.place.function) not in found.untraceable
        covering.replace(
            call.place.function, call.place.number, count, module, overwrite=call.in_place
        )
        return
    current = model.get_submodule(call.place.target)
    if count == 1 and not call.in_place and not isinstance(current, PerCall):
        _swap(model, found, call.place, current, module)
        return
    if not isinstance(current, PerCall):
        shared = PerCall([current] * count).train(owner.training)
        _swap(model, found, call.place, current, shared)
        Substitution.covering(owner).shared.append(shared)
        current = shared
    current.replace(call.place.number, module, overwrite=call.in_place)


def _same_target(one: Place, other: Place) -> bool:
    """Whether two calls are counted together."""
    if one.target is None or other.target is None:
        same_kind = one.target is other.target
        return same_kind and (one.owner, one.function) == (other.owner, other.function)
    return one.target == other.target


def _swap(
    model: nn.Module, found: Probe, place: Place, current: nn.Module, module: nn.Module
) -> None:
    """Set `module` where `current` is, under all its names that are not another call's."""
    assert place.target is not None
    targets = {call.place.target for call in found.calls.values()}
    prefix = f"{place.owner}." if place.owner else ""
    for path, other in list(model.named_modules(remove_duplicate=False)):
        alias = path.startswith(prefix) and path not in targets
        if other is current and (path == place.target or alias):
            model.set_submodule(path, module)


def _shield(model: nn.Module, callers: frozenset[str]) -> None:
    """Cover whatever calls an activation function inside an owner that counts such calls."""
    inner = [
        (path, module)
        for path, module in model.named_modules()
        if (path in callers or module_spec(module)) and CONTAINER not in path.split(".")
    ]
    for outer, owner in list(model.named_modules()):
        covering = owner.__dict__.get("forward")
        if isinstance(covering, Substitution) and covering.table:
            prefix = f"{outer}." if outer else ""
            for path, module in inner:
                if path != outer and path.startswith(prefix):
                    Substitution.covering(module).shields = True


def _close_short_cuts(model: nn.Module) -> None:
    """Keep transformers from computing in fused kernels, which know ReLU and GELU alone.

    They do so in evaluation, whatever has replaced the activation. All layers are told: an
    encoder decides from its first layer, and when built, what tensors all layers are given.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
