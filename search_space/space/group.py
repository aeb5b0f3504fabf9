"""Groups: sites that share one choice, and what is put to the sampler for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from search_space.choices import Choice
from search_space.search import Encoding
from search_space.space.draw import Params, Suggester, draw
from search_space.spec import Site


@dataclass(frozen=True)
class Group:
    """Sites that share one choice, and the choices that they have."""

    name: str
    sites: tuple[Site, ...]
    choices: tuple[Choice, ...]
    encoding: Encoding = "conditional"

    @cached_property
    def offered(self) -> Mapping[str, Choice]:
        """What may be chosen, by label: the choices, or in the flat encoding their variants."""
        if self.encoding == "conditional":
            return {choice.name: choice for choice in self.choices}
        return {label: one for choice in self.choices for label, one in choice.variants.items()}

    def chosen(self, params: Params) -> Choice:
        """Return the choice that a set of parameters makes."""
        label = params.get(self.name)
        return next(iter(self.offered.values())) if label is None else self.offered[label]

    def key(self, choice: Choice, option: str) -> str:
        """Return the name, in the study, of an option of a choice."""
        return f"{choice.entry.tied or self.name}/{choice.name}/{option}"

    def suggest(self, trial: Suggester, params: dict[str, Any]) -> None:
        """Draw the group's parameters into `params`, in a fixed order."""
        draw(trial, params, self.name, tuple(self.offered))
        chosen = self.chosen(params)
        for option, values in chosen.options.items():
            # What is tied over the network has been drawn if another group has it.
            if self.key(chosen, option) not in params:
                draw(trial, params, self.key(chosen, option), values)

    def suggest_everything(self, trial: Suggester, params: dict[str, Any]) -> None:
        """Draw also the parameters of choices that are not made."""
        draw(trial, params, self.name, tuple(self.offered))
        for choice in self.offered.values():
            for option, values in choice.options.items():
                draw(trial, params, self.key(choice, option), values)

    def assignments(self) -> Iterator[dict[str, Any]]:
        """Yield every set of the group's parameters."""
        for label, choice in self.offered.items():
            chosen = {self.name: label} if len(self.offered) > 1 else {}
            names = [self.key(choice, option) for option in choice.open]
            for values in product(*choice.open.values()):
                yield chosen | dict(zip(names, values, strict=True))
