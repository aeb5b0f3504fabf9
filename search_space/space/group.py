"""Groups: sites that share one choice, and their parameters in the study."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from search_space.choices import Choice
from search_space.search_sections import Encoding
from search_space.space.suggest import Params, TrialLike, suggest
from search_space.spec import Site


@dataclass(frozen=True)
class Group:
    """Sites that share one choice, and the choices that they have."""

    name: str
    sites: tuple[Site, ...]
    choices: tuple[Choice, ...]
    encoding: Encoding = "conditional"

    @cached_property
    def by_label(self) -> Mapping[str, Choice]:
        """The choices by label, in the flat encoding their variants."""
        if self.encoding == "conditional":
            return {choice.name: choice for choice in self.choices}
        return {label: one for choice in self.choices for label, one in choice.variants.items()}

    def chosen(self, params: Params) -> Choice:
        """Return the choice that a set of parameters makes."""
        label = params.get(self.name)
        # A group with one choice has no parameter for it.
        return next(iter(self.by_label.values())) if label is None else self.by_label[label]

    def key(self, choice: Choice, option: str) -> str:
        """Return the name, in the study, of an option of a choice."""
        return f"{choice.entry.tied or self.name}/{choice.name}/{option}"

    def suggest(self, trial: TrialLike, params: dict[str, Any]) -> None:
        """Add the group's parameters, as a trial suggests them, to `params`, in a fixed order."""
        suggest(trial, params, self.name, tuple(self.by_label))
        chosen = self.chosen(params)
        for option, values in chosen.options.items():
            # An option that is tied over the network may be another group's already.
            if self.key(chosen, option) not in params:
                suggest(trial, params, self.key(chosen, option), values)

    def suggest_everything(self, trial: TrialLike, params: dict[str, Any]) -> None:
        """As `suggest`, with the parameters of all choices, also those that are not made."""
        suggest(trial, params, self.name, tuple(self.by_label))
        for choice in self.by_label.values():
            for option, values in choice.options.items():
                suggest(trial, params, self.key(choice, option), values)

    def assignments(self) -> Iterator[dict[str, Any]]:
        """Yield every set of the group's parameters."""
        for label, choice in self.by_label.items():
            chosen = {self.name: label} if len(self.by_label) > 1 else {}
            names = [self.key(choice, option) for option in choice.searched]
            for values in product(*choice.searched.values()):
                yield chosen | dict(zip(names, values, strict=True))
