"""Transfers a config to a network with other sites than those it was found on. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from search_space.catalog.lookup import replaces
from search_space.errors import CannotTransfer
from search_space.spec import ActivationConfig, Site, SitePlan

Match = Literal["name", "order", "depth"]


def transfer(config: ActivationConfig, plan: SitePlan, match: Match) -> ActivationConfig:
    """Return `config` for the network of `plan`, without the measurements of the first network.

    Args:
        match: From which site of the config each site of the network takes its activation.
            `name`: the site with its id; a site without one stays as it is. `order`: the site
            with its number, so both need equal numbers of sites. `depth`: the nearest site by
            relative depth, within the stage of the same number if both have as many stages.

    An activation at a gate goes to the gate of the same id, and only by `name`.

    Raises:
        CannotTransfer: If no sites can be paired, if `order` cannot pair all of them, or if an
            activation at a gate has no gate to go to.
    """
    pairs = _PAIRINGS[match](config.plan.sites, plan.sites)
    if not pairs:
        ids = [site.id for site in plan.sites]
        raise CannotTransfer(f"no site of the config is among those of the network: {ids}")
    specs = config.candidate.sites
    pairs = {**pairs, **_gates(config, plan, match)}
    return ActivationConfig(
        candidate=replace(
            config.candidate,
            sites={new: specs[old] for new, old in pairs.items() if old in specs},
        ),
        task=config.task,
        plan=plan,
        fingerprint=plan.fingerprint,
        provenance={
            "transfer": {
                "match": match,
                "task": dict(config.task),
                "fingerprint": config.fingerprint,
                "sites": dict(pairs),
            },
            "found": dict(config.provenance),
        },
    )


def _by_name(old: Sequence[Site], new: Sequence[Site]) -> Mapping[str, str]:
    known = {site.id for site in old}
    return {site.id: site.id for site in new if site.id in known}


def _by_order(old: Sequence[Site], new: Sequence[Site]) -> Mapping[str, str]:
    if len(old) != len(new):
        reason = f"by order needs as many sites: the config has {len(old)}, the network {len(new)}"
        raise CannotTransfer(reason)
    return {ours.id: theirs.id for ours, theirs in zip(new, old, strict=True)}


def _by_depth(old: Sequence[Site], new: Sequence[Site]) -> Mapping[str, str]:
    from_stages, to_stages = _stages(old), _stages(new)
    # Stages of different numbers do not correspond: the whole networks are paired instead.
    if len(from_stages) != len(to_stages):
        from_stages, to_stages = [list(old)], [list(new)]
    return {
        site.id: theirs[_nearest(index, len(ours), len(theirs))].id
        for theirs, ours in zip(from_stages, to_stages, strict=True)
        for index, site in enumerate(ours)
        if theirs
    }


def _gates(config: ActivationConfig, plan: SitePlan, match: Match) -> Mapping[str, str]:
    """Return each gate whose activation the config replaces, paired with itself."""
    specs = config.candidate.sites
    changed = [g.id for g in config.plan.gates if g.id in specs and replaces(specs[g.id], g)]
    if changed and match != "name":
        raise CannotTransfer(
            f"activations at gates are transferred by name alone: {', '.join(changed)}"
        )
    missing = [id for id in changed if id not in {gate.id for gate in plan.gates}]
    if missing:
        raise CannotTransfer(f"the network has no gate with the id: {', '.join(missing)}")
    return {id: id for id in changed}


def _stages(sites: Sequence[Site]) -> list[list[Site]]:
    """Return the sites by stage, in the order of the stages."""
    stages: dict[str, list[Site]] = {}
    for site in sites:
        stages.setdefault(site.stage, []).append(site)
    return list(stages.values())


def _nearest(index: int, count: int, among: int) -> int:
    """Return which of `among` sites is as deep as number `index` of `count`; ends pair up."""
    return round(index * (among - 1) / (count - 1)) if count > 1 else (among - 1) // 2


_PAIRINGS: Mapping[Match, Callable[[Sequence[Site], Sequence[Site]], Mapping[str, str]]] = {
    "name": _by_name,
    "order": _by_order,
    "depth": _by_depth,
}
