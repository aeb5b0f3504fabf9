"""Every activation that a search may choose, as data. No torch module is imported."""

from collections.abc import Mapping

from search_space.catalog import acon, contextual, learned, piecewise, scalar
from search_space.catalog.entry import Entry, Parameter, hidden_width
from search_space.errors import BadParameter, UnfitActivation, UnknownActivation
from search_space.spec import ActivationSpec, Site

__all__ = [
    "CATALOG",
    "Entry",
    "Parameter",
    "check_fit",
    "get_entry",
    "hidden_width",
    "initial_for",
    "replaces",
    "validate",
]

CATALOG: Mapping[str, Entry] = {
    entry.name: entry
    for family in (scalar, piecewise, acon, learned, contextual)
    for entry in family.ENTRIES
}


def validate(spec: ActivationSpec) -> Entry:
    """Return the entry of a valid `spec`.

    Raises:
        UnknownActivation: If the catalogue does not hold the name.
        BadParameter: If a parameter, the share or the start is not one of the entry's.
    """
    entry = get_entry(spec.name)
    for name, value in spec.params.items():
        entry.parameter(name).check(spec.name, value)
    if entry.shares and spec.share not in entry.shares:
        raise BadParameter(spec.name, "share", spec.share, f"one of {', '.join(entry.shares)}")
    if spec.initial is not None and spec.initial not in entry.initials:
        expected = f"one of {', '.join(entry.initials)}" if entry.initials else "left out"
        raise BadParameter(spec.name, "initial", spec.initial, expected)
    return entry


def check_fit(entry: Entry, site: Site) -> None:
    """Raise `UnfitActivation` unless the activation can stand at `site`."""
    if entry.rank is not None and site.rank != entry.rank:
        needs = f"an input of {entry.rank} dimensions, and the site's has {site.rank}"
        raise UnfitActivation(entry.name, site.id, needs)
    if entry.channels_first_only and site.channel_dim != 1:
        raise UnfitActivation(entry.name, site.id, "channels in dimension 1")


def replaces(spec: ActivationSpec, site: Site) -> bool:
    """Whether `spec` replaces the site's own activation."""
    # A learned activation always does: it gets new parameters.
    entry = get_entry(spec.name)
    same = spec.name == site.original and entry.values(spec) == entry.values(site.original_spec)
    return entry.learned or not same


def initial_for(entry: Entry, *, original: str, policy: str) -> str | None:
    """Return the concrete start of an activation that replaces `original`.

    Args:
        policy: `original` (start as the activation that is replaced), `nearest` (the same,
            but as near to it as possible, for trained weights) or `paper` (the paper's start).
    """
    if policy == "paper":
        return entry.paper_initial
    if policy == "nearest" and original in entry.nearest:
        return entry.nearest[original]
    return entry.starts.get(original, entry.default_initial)


def get_entry(name: str) -> Entry:
    """Return the entry called `name`, or raise `UnknownActivation`."""
    try:
        return CATALOG[name]
    except KeyError:
        raise UnknownActivation(name, tuple(CATALOG)) from None
