"""The space of a search: what Optuna may choose, and what a choice means for the network.

Parameters of the study are named `group`, `group/choice/parameter` and
`training/hyperparameter`, so that a sampler never mixes one activation's parameters with
another's.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution

from search_space.catalog.lookup import check_fit, initial_for
from search_space.choices import Choice
from search_space.search import SearchSpec
from search_space.search_sections import HYPERPARAMETERS, Range
from search_space.space.canonical import (
    canonical_candidate,
    canonical_spec,
    has_phases,
    is_learned,
    spec_by_width,
)
from search_space.space.group import Group
from search_space.space.selection import (
    Per,
    choices_by_site,
    group_sites,
    is_open,
    select_sites,
)
from search_space.space.suggest import (
    DistributionRecorder,
    Params,
    TrialLike,
    contains,
    default,
    suggest,
)
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
"""`per: auto` searches single layers only if the budget has this many trials for each site."""


@dataclass(frozen=True)
class Space:
    """Every candidate of a search on one network."""

    groups: tuple[Group, ...]
    fixed: tuple[Site, ...]
    hyperparameters: Mapping[str, Sequence[float] | Range] = field(default_factory=dict)
    initial: str = "original"

    @property
    def original(self) -> Candidate:
        """The network with its original activations."""
        sites = [*self.fixed, *(site for group in self.groups for site in group.sites)]
        return Candidate({site.id: site.original_spec for site in sites})

    @cached_property
    def uniforms(self) -> Mapping[str, Candidate]:
        """For each choice, the network that has it at every site where there is a choice.

        A site whose own choices do not include it keeps its original; a site with a single
        choice has that one.
        """
        names = [choice.name for group in self.groups for choice in group.choices]
        return {name: self._uniform(name) for name in dict.fromkeys(names)}

    def candidate(self, params: Params) -> Candidate:
        """Return the candidate that a set of parameters describes."""
        sites = {site.id: site.original_spec for site in self.fixed}
        for group in self.groups:
            sites |= self._sites_of(group, params)
        # A single value is no parameter of the study, so it may be missing from `params`.
        factors = {
            name: params.get(f"training/{name}", default(values))
            for name, values in self.hyperparameters.items()
        }
        return Candidate(sites, replace(Training(), **factors))

    def suggest(self, trial: TrialLike) -> dict[str, Any]:
        """Return the parameters that an Optuna trial suggests, in a fixed order."""
        params: dict[str, Any] = {}
        for group in self.groups:
            group.suggest(trial, params)
        self._suggest_training(trial, params)
        return params

    @cached_property
    def every_distribution(self) -> dict[str, BaseDistribution]:
        """The distribution of every parameter, whatever else is chosen."""
        recorder, params = DistributionRecorder(), dict[str, Any]()
        for group in self.groups:
            group.suggest_everything(recorder, params)
        self._suggest_training(recorder, params)
        return recorder.distributions

    def distributions(self, params: Params) -> dict[str, BaseDistribution]:
        """Return the distribution of each parameter in `params`."""
        return {name: self.every_distribution[name] for name in params}

    def params_of(self, candidate: Candidate) -> dict[str, Any] | None:
        """Return parameters that describe `candidate`, or None if it lies outside the space."""
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
                # One without effect may have any value: the keys are compared below.
                params[f"training/{name}"] = given if contains(values, given) else default(values)
        return params if self.key(self.candidate(params)) == wanted else None

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the candidate without what has no effect: equal networks are equal documents."""
        return canonical_candidate(candidate)

    def key(self, candidate: Candidate) -> str:
        """Return the sha256 of the candidate's canonical form, Meta-ACON by hidden width."""
        canonical = canonical_candidate(candidate)
        # By width only in the key: the document keeps the reduction, which users know.
        sites = {id: spec_by_width(self._sites[id], spec) for id, spec in canonical.sites.items()}
        text = canonical_json(asdict(replace(canonical, sites=sites)))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def size(self) -> float:
        """Number of different candidates; infinite with a range among the hyperparameters."""
        if any(isinstance(values, Range) for values in self.hyperparameters.values()):
            return math.inf
        # A product over groups would count groups that differ in tied values, which no candidate
        # does.
        for choice in self._choices:
            if choice.entry.tied and choice.searched:
                return self._size_with_tied(choice)
        everything, unphased, unlearned = (
            math.prod(len(self._distinct(group, skip)) for group in self.groups)
            for skip in (lambda _: False, has_phases, is_learned)
        )
        # A hyperparameter of learned or phased activations counts only if there is one.
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
        """Whether any choice collects statistics before it trains."""
        return any(choice.has_phases for choice in self._choices)

    @cached_property
    def _sites(self) -> Mapping[str, Site]:
        searched = (site for group in self.groups for site in group.sites)
        return {site.id: site for site in [*self.fixed, *searched]}

    @property
    def _choices(self) -> Iterator[Choice]:
        return (choice for group in self.groups for choice in group.choices)

    def _suggest_training(self, trial: TrialLike, params: dict[str, Any]) -> None:
        for name, hyperparameter in self.hyperparameters.items():
            suggest(trial, params, f"training/{name}", hyperparameter)

    def _size_with_tied(self, tied: Choice) -> float:
        """Return the size, where all groups with one choice have the same values of it.

        That is the number of networks without it, and for each set of its values the number of
        those with it.
        """
        without = self._replacing(tied.name, None)
        values = {option: values[0] for option, values in tied.searched.items()}
        fixed = self._replacing(tied.name, tied.with_fixed(values))
        sets = math.prod(map(len, tied.searched.values()))
        # A group that has no other choice cannot be without it.
        rest = without.size if all(group.choices for group in without.groups) else 0
        return rest + sets * (fixed.size - rest)

    def _sites_of(self, group: Group, params: Params) -> dict[str, ActivationSpec]:
        """Return the specs of a group's sites that a set of parameters describes."""
        choice = group.chosen(params)
        options = {
            option: params.get(group.key(choice, option), values[0])
            for option, values in choice.options.items()
        }
        return {site.id: self._spec(choice, site, options) for site in group.sites}

    def _replacing(self, name: str, other: Choice | None) -> "Space":
        """Return the space with one choice replaced by another, or removed."""
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
            canonical_json([asdict(spec_by_width(site, sites[site.id])) for site in group.sites])
            for params in group.assignments()
            for sites in [self._sites_of(group, params)]
            if not skip(sites[group.sites[0].id])
        }

    def _count(self, hyperparameter: str) -> int:
        """Return the number of different values of a hyperparameter."""
        # One value for a hyperparameter that is not searched, which multiplies by 1.
        values = self.hyperparameters.get(hyperparameter, [0.0])
        assert not isinstance(values, Range)
        return len(set(values))

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
            # Comparing names first saves making the specs of most choices.
            if group.chosen(params).name != first.name:
                continue
            sites = self._sites_of(group, params)
            if all(
                canonical_spec(sites[site.id]) == canonical_spec(candidate.sites[site.id])
                for site in group.sites
            ):
                return params
        return None


def make_space(search: SearchSpec, plan: SitePlan) -> Space:
    """Return the space of `search` on a network, or raise what does not fit it.

    Raises:
        NoSuchSite: If a pattern of `sites` matches no site.
        ChoicesClash: If two patterns give one site different choices, or sites have different
            values of what is tied over the network.
        UnfitActivation: If a choice cannot stand at a searched site.
    """
    searched = select_sites(search, plan)
    choices = choices_by_site(search, searched)
    for site in searched:
        for choice in choices[site.id]:
            check_fit(choice.entry, site)
    per = _per([choices[site.id] for site in searched], search)
    return Space(
        groups=group_sites(search, per, searched, choices),
        fixed=tuple(site for site in plan.sites if site.id not in choices),
        hyperparameters=search.hyperparameters,
        initial=_start_policy(search),
    )


def _per(choices: Sequence[Sequence[Choice]], search: SearchSpec) -> Per:
    """Return which sites share one choice; `auto` decides by the budget."""
    if search.sites.per != "auto":
        return search.sites.per
    open_sites = sum(map(is_open, choices))
    return "layer" if search.budget.trials >= TRIALS_PER_LAYER * open_sites else "stage"


def _start_policy(search: SearchSpec) -> str:
    """Return the policy of starts: trained weights need starts near the functions they know."""
    tunes = search.start != "scratch" and search.initial == "original"
    return "nearest" if tunes else search.initial


def _defaults(choice: Choice) -> dict[str, Scalar]:
    return {option: _preferred(choice, option, values) for option, values in choice.options.items()}


def _preferred(choice: Choice, option: str, values: Sequence[Scalar]) -> Scalar:
    """Return the entry's own default of an option if it is among the values, else the first."""
    defaults: dict[str, Scalar] = {p.name: p.default for p in choice.entry.parameters}
    preferred = defaults.get(option)
    return preferred if preferred is not None and preferred in values else values[0]
