"""Puts the activations of a candidate into a network, in place."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn

from search_space.activations.learned import learned_parameters
from search_space.build import build, has_fused_twin
from search_space.catalog.lookup import check_fit, replaces, validate
from search_space.errors import NoSuchSite, SitesDiffer
from search_space.selfcheck import SelfCheck, outputs
from search_space.sites import Call, Probe, probe, restored
from search_space.spec import ActivationConfig, ActivationSpec, Candidate, Site, SitePlan
from search_space.surgery.originals import module_spec
from search_space.surgery.placing import isolate_inner_calls, replace_calls
from search_space.transfer import Match, transfer

CandidateLike = Mapping[str, ActivationSpec] | Candidate | ActivationConfig


def apply(
    model: nn.Module,
    candidate: CandidateLike,
    example_batch: Any,
    *,
    match: Match | Literal["exact"] = "exact",
    fused: bool = False,
    check: bool = True,
    found: Probe | None = None,
) -> nn.Module:
    """Put the activations of `candidate` into `model`, in place, and return it.

    A module that is called once is replaced. A call of a shared module or of a function is
    replaced by its number within the owning module's forward; the new activations are
    submodules of the owner. A site whose spec is its own original stays untouched, and so does
    a site that a mapping or a candidate does not name. Gradients, optimizers and copies that
    exist already do not contain the new parameters: make the optimizer after this call.

    The network runs five times on `example_batch`: once in training and once in evaluation to
    find the sites, as in `find_sites`, and three times for the check. With `found` it runs
    three times, with `check=False` twice, with both not at all. Modes, buffers and random
    states are as before.

    Args:
        candidate: Specs by site id, a candidate, or a config, which must have been made on
            the same sites.
        example_batch: As for `find_sites`.
        match: How the sites of a config are paired with those of another network: `name`,
            `order` or `depth`, see `search_space.transfer`. The gain was measured on the
            config's own network only.
        fused: Use the kernel of every activation that has a fused twin; parameters and their
            names are the same.
        check: Run the network in evaluation: as it is given, with its original activations at
            their new places, which must give the same numbers, and with the new ones, which
            must give finite numbers of the same shapes.
        found: The result of `probe` on this network and batch, if the caller has it already.

    Raises:
        NoSuchSite: If one id is not a site of the network.
        SitesDiffer: If several are not, or if the sites are not those of the config.
        CannotTransfer: If `match` cannot pair the sites.
        UnknownActivation: If the catalogue does not hold a name.
        BadParameter: If a parameter, share or start is not one of the activation's.
        UnfitActivation: If an activation cannot stand at its site.
        ApplyFails: If the check fails. Do not use the network any more.
    """
    found = probe(model, example_batch) if found is None else found
    if match != "exact":
        if not isinstance(candidate, ActivationConfig):
            raise TypeError("match is for an ActivationConfig, which knows its own sites")
        candidate = transfer(candidate, found.plan, match)
    specs = _specs(candidate, found.plan)
    # Everything is validated before the network is changed, so an error leaves it as it is.
    for site, spec in specs.items():
        check_fit(validate(spec), found.calls[site].site)
    changed = {id: spec for id, spec in specs.items() if replaces(spec, found.calls[id].site)}
    dtype = _floating_dtype(model)
    modules = {
        id: _module(spec, found.calls[id], dtype, fused=fused) for id, spec in changed.items()
    }
    sites = [call.site for call in found.calls.values()]
    self_check = _self_check(model, modules, sites, example_batch) if check else None
    replace_calls(model, modules, sites)
    callers = found.callers
    # The probe has not run the new activations, whose modules call functions, too.
    isolate_inner_calls(model, lambda path, m: path in callers or module_spec(m) is not None)
    if self_check is not None:
        self_check.verify()
    return model


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float = 0.0, factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return two optimizer groups: first all other parameters, then those of activations.

    Parameters of activations have `factor` times the learning rate and no weight decay, which
    would pull slopes and tables to 0 and bounds together. They are found by the type of their
    module. Each group has its own rate and decay, so a rate or decay given to the optimizer
    itself has no effect. There are two groups even if one is empty, so that the optimizers of
    all candidates of a search have the same structure; torch's optimizers take an empty group.

    Args:
        lr: Learning rate of all other parameters.
        weight_decay: Weight decay of all other parameters.
        factor: Learning rate of the activations' parameters, over `lr`.
    """
    learned = learned_parameters(model)
    own = set(learned)
    others = [parameter for parameter in model.parameters() if parameter not in own]
    return [
        {"params": others, "lr": lr, "weight_decay": weight_decay},
        {"params": learned, "lr": lr * factor, "weight_decay": 0.0},
    ]


def _specs(candidate: CandidateLike, plan: SitePlan) -> Mapping[str, ActivationSpec]:
    """Return the specs by site id; raise if an id is not a site of the plan."""
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
    # The id alone does not tell that the network was made wider, or calls another function.
    mis_sized = [id for id in both if sizes(theirs[id]) != sizes(ours[id])]
    if missing or extra or mis_sized:
        raise SitesDiffer(missing, extra, mis_sized)


def _self_check(
    model: nn.Module, modules: Mapping[str, nn.Module], sites: Sequence[Site], example_batch: Any
) -> SelfCheck:
    originals = {site.id: site for site in sites}

    def original(id: str) -> nn.Module:
        site = originals[id]
        return build(site.original_spec, channels=site.channels, channel_dim=site.channel_dim)

    def run() -> list[Tensor]:
        # Eager, because the forward of modules changes between the runs.
        with restored(model), torch.compiler.set_stance("force_eager"):
            return outputs(model, example_batch)

    return SelfCheck(model, modules, sites, original, run)


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
    # Networks may be spread over devices, so each call has its own.
    return module.to(call.device, dtype)
