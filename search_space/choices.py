"""Choices: activations with the values of their parameters that a user offers to a search."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from search_space.catalog.lookup import CATALOG, Entry, get_entry, validate
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec, Scalar, Share


@dataclass(frozen=True, slots=True)
class Choice:
    """An activation and values of its parameters; a parameter with several values is searched."""

    name: str
    values: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    initials: tuple[str, ...] = ()

    @property
    def entry(self) -> Entry:
        return get_entry(self.name)

    @property
    def has_phases(self) -> bool:
        """Whether it collects statistics with some values of its parameters."""
        entry = self.entry
        return entry.phases and (
            entry.unphased_by is None or None in self.values.get(entry.unphased_by, (None,))
        )

    @property
    def options(self) -> dict[str, tuple[Scalar, ...]]:
        """The values of every parameter, of the share and of the start, searched or fixed."""
        options: dict[str, tuple[Scalar, ...]] = {
            parameter.name: self.values.get(parameter.name, (parameter.default,))
            for parameter in self.entry.parameters
        }
        if self.entry.shares:
            options["share"] = self.shares or self.entry.shares[:1]
        if self.initials:
            options["initial"] = self.initials
        return options

    @property
    def searched(self) -> dict[str, tuple[Scalar, ...]]:
        """The options with more than one value."""
        return {name: values for name, values in self.options.items() if len(values) > 1}

    def with_fixed(self, options: Mapping[str, Scalar]) -> "Choice":
        """Return the choice with some of its options fixed."""
        values: dict[str, Any] = {name: (value,) for name, value in options.items()}
        shares = values.pop("share", self.shares)
        initials = values.pop("initial", self.initials)
        return Choice(self.name, {**self.values, **values}, shares, initials)

    @property
    def variants(self) -> "Mapping[str, Choice]":
        """The choices that fix each of the options, by labels such as `pwlu-8`.

        A tied activation has one variant, itself: single sites cannot choose its values.
        """
        if self.entry.tied:
            return {self.name: self}
        return {
            "-".join([self.name, *map(str, values)]): self.with_fixed(
                dict(zip(self.searched, values, strict=True))
            )
            for values in product(*self.searched.values())
        }


def _parse_choice(given: Any) -> Choice:
    """Read `relu` or `{name: pwlu, segments: [4, 8], share: layer}`; the catalogue checks it."""
    if isinstance(given, Choice):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ValueError(f"each choice is a name or an object with a name, got {given!r}")
    fields = {key: _as_values(given["name"], key, value) for key, value in given.items()}
    (name,) = fields.pop("name")
    share, initial = fields.pop("share", ()), fields.pop("initial", ())
    entry = get_entry(name)
    for parameter, values in fields.items():
        for value in values:
            entry.parameter(parameter).check(name, value)
    _check_share(entry, share)
    for start in initial:
        validate(ActivationSpec(name, initial=start))
    return Choice(name, fields, share, initial)


def _write_choice(choice: Choice) -> dict[str, Any]:
    """Return the object that `_parse_choice` reads back."""
    options = {"share": choice.shares, "initial": choice.initials, **choice.values}
    return {"name": choice.name} | {key: list(values) for key, values in options.items() if values}


def _check_share(entry: Entry, shares: tuple[Any, ...]) -> None:
    for share in shares:
        if share not in entry.shares:
            expected = f"one of {', '.join(entry.shares)}" if entry.shares else "left out"
            raise BadParameter(entry.name, "share", share, expected)


def _as_values(name: str, key: str, value: Any) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values:
        raise ValueError(f"{name}: {key} needs at least one value, got an empty list")
    kinds = (bool | int | float | str) if key in ("name", "share", "initial") else Scalar
    if not all(isinstance(one, kinds) for one in values):
        raise ValueError(f"{name}: {key} must be a value or a list of values, got {value!r}")
    if len(set(values)) < len(values):
        raise ValueError(f"{name}: {key} names a value twice: {value!r}")
    return values


ChoiceField = Annotated[
    Choice,
    BeforeValidator(_parse_choice),
    PlainSerializer(_write_choice),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(CATALOG)},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string", "enum": list(CATALOG)}},
                    "required": ["name"],
                },
            ]
        }
    ),
]


def _each_once(choices: list[Choice]) -> list[Choice]:
    names = [choice.name for choice in choices]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{', '.join(twice)} is offered more than once; "
            "list the values of its parameters in one entry"
        )
    return choices


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str | Mapping | Choice) else given


ChoicesField = Annotated[list[ChoiceField], Field(min_length=1), AfterValidator(_each_once)]
OneOrMore = Annotated[ChoicesField, BeforeValidator(_as_list)]
