"""Errors of the search space, each with its facts as fields.

Every class passes its fields to `Exception.__init__`, so that it can be pickled between
processes, and builds its message in `__str__`.
"""

from collections.abc import Sequence
from difflib import get_close_matches


class SearchSpaceError(Exception):
    """Base of every error this package raises on purpose."""


class UnknownActivation(SearchSpaceError, ValueError):
    """A spec names an activation the catalogue does not hold."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return f"no activation named {self.name!r}; the catalogue has {', '.join(self.known)}"


class BadParameter(SearchSpaceError, ValueError):
    """A parameter of an activation is unknown, of the wrong type or out of range."""

    def __init__(self, activation: str, parameter: str, given: object, expected: str) -> None:
        super().__init__(activation, parameter, given, expected)
        self.activation = activation
        self.parameter = parameter
        self.given = given
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.activation}: {self.parameter} must be {self.expected}, got {self.given!r}"


class UnfitActivation(SearchSpaceError, ValueError):
    """An activation does not fit the site it was chosen for."""

    def __init__(self, activation: str, site: str, needs: str) -> None:
        super().__init__(activation, site, needs)
        self.activation = activation
        self.site = site
        self.needs = needs

    def __str__(self) -> str:
        return f"{self.activation} does not fit the site {self.site!r}: it needs {self.needs}"


class NoSuchSite(SearchSpaceError, ValueError):
    """A pattern or an id matches no site of the plan."""

    def __init__(self, field: str, pattern: str, known: Sequence[str]) -> None:
        super().__init__(field, pattern, tuple(known))
        self.field = field
        self.pattern = pattern
        self.known = tuple(known)

    def __str__(self) -> str:
        nearest = get_close_matches(self.pattern, self.known, n=3, cutoff=0.0)
        listed = ", ".join(repr(site) for site in nearest) or "none: the network has no site"
        return f"{self.field}: {self.pattern!r} matches no site; the nearest are {listed}"


class ChoicesClash(SearchSpaceError, ValueError):
    """The choices that patterns give to sites contradict each other."""

    field = "sites.choices"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.field}: {self.what}"


class SitesDiffer(SearchSpaceError, ValueError):
    """A config was made for a network with other sites than the given network."""

    def __init__(
        self, missing: Sequence[str], extra: Sequence[str], mis_sized: Sequence[str]
    ) -> None:
        super().__init__(tuple(missing), tuple(extra), tuple(mis_sized))
        self.missing = tuple(missing)
        self.extra = tuple(extra)
        self.mis_sized = tuple(mis_sized)

    def __str__(self) -> str:
        parts = [
            f"{label}: {', '.join(sites)}"
            for label, sites in (
                ("missing from the network", self.missing),
                ("in the network but not in the config", self.extra),
                ("of another size or original", self.mis_sized),
            )
            if sites
        ]
        return f"the sites of the network differ from the config's; {'; '.join(parts)}"


class CannotTransfer(SearchSpaceError, ValueError):
    """The sites of a config cannot be paired with those of a network by the given match."""


class ApplyFails(SearchSpaceError, ArithmeticError):
    """A network fails the check after its activations were replaced."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"the network fails the check of its new activations: {self.what}"


class FoldDiffers(SearchSpaceError, ArithmeticError):
    """A folded network does not compute what the network computed before."""

    def __init__(self, difference: float, allowed: float) -> None:
        super().__init__(difference, allowed)
        self.difference = difference
        self.allowed = allowed

    def __str__(self) -> str:
        return (
            f"the folded network's output is off by {self.difference:.3g} of its largest number, "
            f"more than {self.allowed:.3g}"
        )
