"""Selects the sites of a search, the choices of each, and the sites that share one choice."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from search_space.choices import Choice
from search_space.errors import ChoicesClash, NoSuchSite
from search_space.search import SearchSpec
from search_space.space.group import Group
from search_space.spec import Site, SitePlan

Per = Literal["network", "stage", "block", "layer"]


def select_sites(search: SearchSpec, plan: SitePlan) -> list[Site]:
    """Return the sites that the search's patterns name, or raise `NoSuchSite`.

    A gate is one of them if a pattern of `include` matches gates alone: `*` selects no gate
    in a network that has any other site.
    """
    sites = (*plan.sites, *_named_gates(search, plan))
    ids = [site.id for site in (*plan.sites, *plan.gates)]
    for name, patterns in (("include", search.sites.included), ("exclude", search.sites.exclude)):
        for pattern in patterns:
            if not any(fnmatchcase(site, pattern) for site in ids):
                raise NoSuchSite(f"sites.{name}", pattern, ids)
    included = [
        site
        for site in sites
        if any(fnmatchcase(site.id, pattern) for pattern in search.sites.included)
        and not any(fnmatchcase(site.id, pattern) for pattern in search.sites.exclude)
    ]
    if not included:
        raise NoSuchSite("sites.exclude", ", ".join(search.sites.exclude), ids)
    return included


def choices_by_site(search: SearchSpec, sites: Sequence[Site]) -> dict[str, tuple[Choice, ...]]:
    """Return the choices of each site: those of its pattern, else the search's own.

    Raises:
        NoSuchSite: If a pattern matches none of the sites.
        ChoicesClash: As in `make_space`.
    """
    choices = {site.id: tuple(search.choices) for site in sites}
    # The pattern that each site has its choices from.
    patterns: dict[str, str] = {}
    for pattern, given in search.sites.choices.items():
        matching = [site.id for site in sites if fnmatchcase(site.id, pattern)]
        if not matching:
            raise NoSuchSite("sites.choices", pattern, list(choices))
        for id in matching:
            if id in patterns and choices[id] != tuple(given):
                reason = f"{patterns[id]!r} and {pattern!r} differ, and both match {id!r}"
                raise ChoicesClash(reason)
            patterns[id], choices[id] = pattern, tuple(given)
    _check_tied(choices)
    return choices


def _check_tied(choices: Mapping[str, tuple[Choice, ...]]) -> None:
    """Raise `ChoicesClash` if sites have different values of what is tied over the network."""
    tied: dict[str, Choice] = {}
    for choice in (one for some in choices.values() for one in some if one.entry.tied):
        if tied.setdefault(choice.name, choice) != choice:
            raise ChoicesClash(
                f"{choice.name} has the same values at all sites, so give it the same choices"
            )


def _named_gates(search: SearchSpec, plan: SitePlan) -> list[Site]:
    """Return the gates that match a pattern which matches no site."""
    naming = [
        pattern
        for pattern in search.sites.included
        if not any(fnmatchcase(site.id, pattern) for site in plan.sites)
    ]
    return [gate for gate in plan.gates if any(fnmatchcase(gate.id, p) for p in naming)]


def is_open(choices: Sequence[Choice]) -> bool:
    """Whether more than one activation, or more than one value of a parameter, is searched."""
    return len(choices) > 1 or any(choice.searched for choice in choices)


def group_sites(
    search: SearchSpec, per: Per, sites: Sequence[Site], choices: Mapping[str, tuple[Choice, ...]]
) -> tuple[Group, ...]:
    """Return the groups of sites. Sites with different choices are never in one group."""
    members: dict[tuple[str, tuple[str, ...]], list[Site]] = {}
    for site in sites:
        names: dict[Per, str] = {
            "network": "network",
            "stage": f"stage {site.stage}",
            "block": f"block {site.block}",
            "layer": site.id,
        }
        # Choices hold mappings, so they cannot be hashed; their text can.
        label = tuple(map(repr, choices[site.id]))
        members.setdefault((names[per], label), []).append(site)
    counts = Counter(name for name, _ in members)
    return tuple(
        Group(
            # Names of groups are names of study parameters, so they must differ.
            name if counts[name] == 1 else f"{name} from {tied[0].id}",
            tuple(tied),
            choices[tied[0].id],
            search.sampler.encoding,
        )
        for (name, _), tied in members.items()
    )
