"""The space of a search: what Optuna may choose, and what a choice means for the network.

Parameters of the study read `group`, `group/choice/parameter` and `training/hyperparameter`,
so that one activation's parameters never mix with another's in the sampler's history.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution

from search_space.catalog.lookup import Entry, check_fit, hidden_width, initial_for, lookup
from search_space.choices import Choice
from search_space.errors import ChoicesClash, NoSuchSite
from search_space.search import HYPERPARAMETERS, Range, SearchSpec
from search_space.space.draw import Lowest, Params, Suggester, contains, draw, first
from search_space.space.group import Group
from search_space.spec import (
    ActivationSpec,
    Candidate,
    Scalar,
    Site,
    SitePlan,
    Training,
    canonical_json,
)

TRIALS_PER_LAYER = 10
"""`per: auto` searches single layers only when the budget allows this many trials a site."""


@dataclass(frozen=True)
class Space:
    """Every candidate of a search on one network."""

    groups: tuple[Group, ...]
    fixed: tuple[Site, ...]
    hyperparameters: Mapping[str, Sequence[float] | Range] = field(default_factory=dict)
    initial: str = "original"

    @property
    def original(self) -> Candidate:
        """The network as it came."""
        sites = [*self.fixed, *(site for group in self.groups for site in group.sites)]
        return Candidate({site.id: site.original_spec for site in sites})

    @cached_property
    def uniforms(self) -> Mapping[str, Candidate]:
        """For each choice, the network that has it at every site where there is a choice.

        Where sites have choices of their own, and this is not among them, it keeps their
        original; where these leave no choice, what is fixed there.
        """
        names = [choice.name for group in self.groups for choice in group.choices]
        return {name: self._uniform(name) for name in dict.fromkeys(names)}

    def candidate(self, params: Params) -> Candidate:
        """Return what a set of parameters means."""
        sites = {site.id: site.original_spec for site in self.fixed}
        for group in self.groups:
            sites |= self._sites_of(group, params)
        factors = {
            name: params.get(f"training/{name}", first(values))
            for name, values in self.hyperparameters.items()
        }
        return Candidate(sites, replace(Training(), **factors))

    def suggest(self, trial: Suggester) -> dict[str, Any]:
        """Draw a set of parameters from an Optuna trial, in a fixed order."""
        params: dict[str, Any] = {}
        for group in self.groups:
            group.suggest(trial, params)
        self._suggest_training(trial, params)
        return params

    @cached_property
    def every_distribution(self) -> dict[str, BaseDistribution]:
        """The distribution of every parameter, whatever else is chosen."""
        drawn, params = Lowest(), dict[str, Any]()
        for group in self.groups:
            group.suggest_everything(drawn, params)
        self._suggest_training(drawn, params)
        return drawn.distributions

    def distributions(self, params: Params) -> dict[str, BaseDistribution]:
        """Return the distribution that each parameter of `params` was drawn from."""
        return {name: self.every_distribution[name] for name in params}

    def params_of(self, candidate: Candidate) -> dict[str, Any] | None:
        """Return parameters that mean `candidate`, or None where it lies outside the space."""
        wanted = self.key(candidate)
        params: dict[str, Any] = {}
        for group in self.groups:
            found = self._params_of_group(group, candidate)
            if found is None:
                return None
            params |= found
        for name, values in self.hyperparameters.items():
            given = getattr(candidate.training, name)
            if isinstance(values, Range) or len(values) > 1:
                # One that does not matter may have any value: the keys are what is compared.
                params[f"training/{name}"] = given if contains(values, given) else first(values)
        return params if self.key(self.candidate(params)) == wanted else None

    def canonical(self, candidate: Candidate) -> Candidate:
        """Drop what does not matter, so that equal trainable networks are equal documents."""
        sites = {site: _canonical_spec(spec) for site, spec in candidate.sites.items()}
        entries = [lookup(spec.name) for spec in sites.values()]
        default, training = Training(), candidate.training
        if not any(entry.learned for entry in entries):
            factor = default.activation_learning_rate_factor
            training = replace(training, activation_learning_rate_factor=factor)
        if not any(lookup(spec.name).has_phases(spec) for spec in sites.values()):
            training = replace(training, realign_after=default.realign_after)
        return Candidate(sites, training)

    def key(self, candidate: Candidate) -> str:
        """Return the sha256 of the candidate's canonical form, Meta-ACON by hidden width."""
        canonical = self.canonical(candidate)
        sites = {id: self._by_width(self._sites[id], spec) for id, spec in canonical.sites.items()}
        text = canonical_json(asdict(replace(canonical, sites=sites)))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def size(self) -> float:
        """Number of different candidates; infinite with a range among the hyperparameters."""
        if any(isinstance(values, Range) for values in self.hyperparameters.values()):
            return math.inf
        for choice in self._choices:
            if choice.entry.tied and choice.open:
                return self._size_with(choice)
        everything, unphased, unlearned = (
            math.prod(len(self._distinct(group, skip)) for group in self.groups)
            for skip in (lambda _: False, lambda s: _entry(s).has_phases(s), _learned)
        )
        # Hyperparameters of learned or phased activations count only where there is one.
        rates, factors, phases = (self._count(name) for name in HYPERPARAMETERS)
        learned, phased = unphased - unlearned, everything - unphased
        return rates * (unlearned + factors * (learned + phases * phased))

    def enumerate(self) -> Iterator[tuple[dict[str, Any], Candidate]]:
        """Yield every set of parameters with its candidate; equal candidates repeat."""
        axes = [list(group.assignments()) for group in self.groups]
        for name, values in self.hyperparameters.items():
            assert not isinstance(values, Range)
            key = f"training/{name}"
            axes.append([{key: value} if len(values) > 1 else {} for value in values])
        for parts in product(*axes):
            params = {key: value for part in parts for key, value in part.items()}
            # Groups may not differ in what is tied over the network.
            if all(params[key] == value for part in parts for key, value in part.items()):
                yield params, self.candidate(params)

    @property
    def has_phases(self) -> bool:
        """Whether any offered choice collects statistics before it trains."""
        return any(choice.has_phases for choice in self._choices)

    @cached_property
    def _sites(self) -> Mapping[str, Site]:
        searched = (site for group in self.groups for site in group.sites)
        return {site.id: site for site in [*self.fixed, *searched]}

    @property
    def _choices(self) -> Iterator[Choice]:
        return (choice for group in self.groups for choice in group.choices)

    def _suggest_training(self, trial: Suggester, params: dict[str, Any]) -> None:
        for name, hyperparameter in self.hyperparameters.items():
            draw(trial, params, f"training/{name}", hyperparameter)

    def _size_with(self, tied: Choice) -> float:
        """Return the size, where all groups that have one choice have it with the same values.

        That is the networks without it, and for each of its values those with it.
        """
        without = self._replacing(tied.name, None)
        fixed = self._replacing(
            tied.name, tied.narrowed({option: values[0] for option, values in tied.open.items()})
        )
        ways = math.prod(map(len, tied.open.values()))
        rest = without.size if all(group.choices for group in without.groups) else 0
        return rest + ways * (fixed.size - rest)

    def _sites_of(self, group: Group, params: Params) -> dict[str, ActivationSpec]:
        """Return what a set of parameters means for a group."""
        choice = group.chosen(params)
        options = {
            option: params.get(group.key(choice, option), values[0])
            for option, values in choice.options.items()
        }
        return {site.id: self._spec(choice, site, options) for site in group.sites}

    def _replacing(self, name: str, other: Choice | None) -> "Space":
        """Return the space with another choice in place of one, or with none."""
        new = () if other is None else (other,)
        groups = []
        for group in self.groups:
            kept = tuple(choice for choice in group.choices if choice.name != name)
            changed = kept + (new if len(kept) < len(group.choices) else ())
            groups.append(replace(group, choices=changed))
        return replace(self, groups=tuple(groups))

    def _distinct(self, group: Group, skip: Callable[[ActivationSpec], bool]) -> set[str]:
        """Return the different networks that a group's choices, less the skipped, make of it."""
        return {
            canonical_json([asdict(self._by_width(site, sites[site.id])) for site in group.sites])
            for params in group.assignments()
            for sites in [self._sites_of(group, params)]
            if not skip(sites[group.sites[0].id])
        }

    def _count(self, hyperparameter: str) -> int:
        values = self.hyperparameters.get(hyperparameter, [0.0])
        assert not isinstance(values, Range)
        return len(set(values))

    def _by_width(self, site: Site, spec: ActivationSpec) -> ActivationSpec:
        """Return the canonical spec, Meta-ACON's reduction read as the width it comes to."""
        spec = _canonical_spec(spec)
        params = dict(spec.params)
        if "reduction" not in params:
            return spec
        reduction, rule = params.pop("reduction"), params.pop("rule", "at_least_4")
        assert isinstance(reduction, int)
        if params.get("switch", "channel") == "channel":
            params["width"] = hidden_width(site.channels, reduction, str(rule))
        else:
            # Only the switch of a channel has a network.
            params.pop("norm")
        return replace(spec, params=params)

    def _uniform(self, name: str) -> Candidate:
        sites = {site.id: site.original_spec for site in self.fixed}
        for group in self.groups:
            choice = next((choice for choice in group.choices if choice.name == name), None)
            if len(group.choices) == 1:
                (choice,) = group.choices
            for site in group.sites:
                sites[site.id] = (
                    site.original_spec
                    if choice is None
                    else self._spec(choice, site, _defaults(choice))
                )
        return Candidate(sites)

    def _spec(self, choice: Choice, site: Site, options: Mapping[str, Any]) -> ActivationSpec:
        params = {key: value for key, value in options.items() if key not in ("share", "initial")}
        start = options.get("initial") or initial_for(
            choice.entry, original=site.original, policy=self.initial
        )
        spec = ActivationSpec(choice.name, params, initial=start)
        return replace(spec, share=options["share"]) if "share" in options else spec

    def _params_of_group(self, group: Group, candidate: Candidate) -> dict[str, Any] | None:
        first = candidate.sites[group.sites[0].id]
        for params in group.assignments():
            if group.chosen(params).name != first.name:
                continue
            sites = self._sites_of(group, params)
            if all(
                _canonical_spec(sites[site.id]) == _canonical_spec(candidate.sites[site.id])
                for site in group.sites
            ):
                return params
        return None


def make_space(search: SearchSpec, plan: SitePlan) -> Space:
    """Return the space of `search` on a network, or raise what does not fit it.

    Raises:
        NoSuchSite: If a pattern of `sites` matches no site.
        ChoicesClash: If two patterns offer one site different choices, or sites are offered
            different values of what is tied over the network.
        UnfitActivation: If a choice cannot stand at a searched site.
    """
    searched = select_sites(search, plan)
    choices = choices_of(search, searched)
    for site in searched:
        for choice in choices[site.id]:
            check_fit(choice.entry, site)
    return Space(
        groups=_groups(search, searched, choices),
        fixed=tuple(site for site in plan.sites if site.id not in choices),
        hyperparameters=search.hyperparameters,
        initial=_start_policy(search),
    )


def _start_policy(search: SearchSpec) -> str:
    """Trained weights are tuned from what is nearest to the functions they were trained with."""
    tunes = search.start != "scratch" and search.initial == "original"
    return "nearest" if tunes else search.initial


def select_sites(search: SearchSpec, plan: SitePlan) -> list[Site]:
    """Return the sites that the search's patterns name, or raise `NoSuchSite`.

    A gate is one of them if a pattern of `include` matches nothing but gates: `*` names none
    in a network that has anything else.
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


def choices_of(search: SearchSpec, sites: Sequence[Site]) -> dict[str, tuple[Choice, ...]]:
    """Return what each site is offered: what its pattern says, else the search's own choices.

    Raises:
        NoSuchSite: If a pattern matches none of the sites.
        ChoicesClash: As in `make_space`.
    """
    offered = {site.id: tuple(search.choices) for site in sites}
    named: dict[str, str] = {}
    for pattern, choices in search.sites.choices.items():
        matching = [site.id for site in sites if fnmatchcase(site.id, pattern)]
        if not matching:
            raise NoSuchSite("sites.choices", pattern, list(offered))
        for id in matching:
            if id in named and offered[id] != tuple(choices):
                raise ChoicesClash(f"{named[id]!r} and {pattern!r} differ, and both match {id!r}")
            named[id], offered[id] = pattern, tuple(choices)
    tied: dict[str, Choice] = {}
    for choice in (one for some in offered.values() for one in some if one.entry.tied):
        if tied.setdefault(choice.name, choice) != choice:
            raise ChoicesClash(f"{choice.name} is one for the network, so are its values")
    return offered


def _named_gates(search: SearchSpec, plan: SitePlan) -> list[Site]:
    """Return the gates that patterns match which match no site."""
    naming = [
        pattern
        for pattern in search.sites.included
        if not any(fnmatchcase(site.id, pattern) for site in plan.sites)
    ]
    return [gate for gate in plan.gates if any(fnmatchcase(gate.id, p) for p in naming)]


def _groups(
    search: SearchSpec, sites: Sequence[Site], choices: Mapping[str, tuple[Choice, ...]]
) -> tuple[Group, ...]:
    """Tie sites together. Sites with different choices are never tied."""
    per = search.sites.per
    if per == "auto":
        open_sites = sum(_is_open(choices[site.id]) for site in sites)
        per = "layer" if search.budget.trials >= TRIALS_PER_LAYER * open_sites else "stage"
    members: dict[tuple[str, tuple[str, ...]], list[Site]] = {}
    for site in sites:
        names = {
            "network": "network",
            "stage": f"stage {site.stage}",
            "block": f"block {site.block}",
            "layer": site.id,
        }
        label = tuple(map(repr, choices[site.id]))
        members.setdefault((names[per], label), []).append(site)
    counts = Counter(name for name, _ in members)
    return tuple(
        Group(
            name if counts[name] == 1 else f"{name} from {tied[0].id}",
            tuple(tied),
            choices[tied[0].id],
            search.sampler.encoding,
        )
        for (name, _), tied in members.items()
    )


def _is_open(choices: Sequence[Choice]) -> bool:
    return len(choices) > 1 or any(choice.open for choice in choices)


def _entry(spec: ActivationSpec) -> Entry:
    return lookup(spec.name)


def _learned(spec: ActivationSpec) -> bool:
    return lookup(spec.name).learned


def _defaults(choice: Choice) -> dict[str, Scalar]:
    return {option: _preferred(choice, option, values) for option, values in choice.options.items()}


def _preferred(choice: Choice, option: str, values: Sequence[Scalar]) -> Scalar:
    """Return the entry's own default of an option where it is offered, else the first value."""
    defaults: dict[str, Scalar] = {p.name: p.default for p in choice.entry.parameters}
    default = defaults.get(option)
    return default if default is not None and default in values else values[0]


def _canonical_spec(spec: ActivationSpec) -> ActivationSpec:
    entry = lookup(spec.name)
    params = entry.values(spec)
    share = spec.share if len(entry.shares) > 1 else ActivationSpec(spec.name).share
    return ActivationSpec(spec.name, params, share, spec.initial or entry.default_initial)
