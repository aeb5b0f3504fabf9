"""Canonical forms: equal trainable networks have equal documents and keys."""

from dataclasses import replace

from search_space.catalog.lookup import get_entry, hidden_width
from search_space.spec import ActivationSpec, Candidate, Site, Training


def canonical_spec(spec: ActivationSpec) -> ActivationSpec:
    """Return the spec with all defaults written out, and without a share that has no effect."""
    entry = get_entry(spec.name)
    params = entry.values(spec)
    share = spec.share if len(entry.shares) > 1 else ActivationSpec(spec.name).share
    return ActivationSpec(spec.name, params, share, spec.initial or entry.default_initial)


def canonical_candidate(candidate: Candidate) -> Candidate:
    """Return the candidate with canonical specs, and without hyperparameters of no effect."""
    sites = {site: canonical_spec(spec) for site, spec in candidate.sites.items()}
    default, training = Training(), candidate.training
    if not any(is_learned(spec) for spec in sites.values()):
        factor = default.activation_learning_rate_factor
        training = replace(training, activation_learning_rate_factor=factor)
    if not any(has_phases(spec) for spec in sites.values()):
        training = replace(training, realign_after=default.realign_after)
    return Candidate(sites, training)


def spec_by_width(site: Site, spec: ActivationSpec) -> ActivationSpec:
    """Return the canonical spec, with Meta-ACON's hidden width in place of its reduction.

    Two reductions that give one width at this site are one network.
    """
    spec = canonical_spec(spec)
    params = dict(spec.params)
    if "reduction" not in params:
        return spec
    reduction, rule = params.pop("reduction"), params.pop("rule", "at_least_4")
    assert isinstance(reduction, int)
    if params.get("switch", "channel") == "channel":
        params["width"] = hidden_width(site.channels, reduction, str(rule))
    else:
        # Only the switch of a channel has a small network, so a norm has no effect.
        params.pop("norm")
    return replace(spec, params=params)


def is_learned(spec: ActivationSpec) -> bool:
    """Whether the activation has parameters of its own."""
    return get_entry(spec.name).learned


def has_phases(spec: ActivationSpec) -> bool:
    """Whether the activation collects statistics before it trains."""
    return get_entry(spec.name).has_phases(spec)
