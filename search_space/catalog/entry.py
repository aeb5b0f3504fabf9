"""The entries of the catalogue: what is known of an activation, as data without torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from search_space.errors import BadParameter
from search_space.spec import ActivationSpec, Scalar, Share

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an activation: a keyword argument of its module's constructor.

    Attributes:
        low: The lowest number allowed; None for no limit, and for texts.
        high: The highest number allowed.
        choices: The values allowed, if not a range.
        nullable: None is allowed as well. With a default of None, other values are numbers.
    """

    name: str
    default: Scalar
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    choices: tuple[str, ...] = ()
    nullable: bool = False

    @property
    def kind(self) -> type:
        """The type of every value except None."""
        return float if self.default is None else type(self.default)

    def check(self, activation: str, value: Any) -> None:
        """Raise `BadParameter` unless `value` has the right type and is allowed."""
        if value is None and self.nullable:
            return
        kind = self.kind
        # In Python True is an int, but a parameter that takes numbers must refuse it.
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or isinstance(value, bool) is not (kind is bool):
            expected = f"of type {kind.__name__}" + (" or null" if self.nullable else "")
            raise BadParameter(activation, self.name, value, expected)
        if self.choices:
            if value not in self.choices:
                expected = f"one of {', '.join(self.choices)}"
                raise BadParameter(activation, self.name, value, expected)
        elif kind is not bool and not self._contains(float(value)):
            raise BadParameter(activation, self.name, value, self._span())

    def _contains(self, value: float) -> bool:
        low, high = self.low, self.high
        # `value == value` is false for NaN, which lies in no range.
        return (low is None or value >= low) and (high is None or value <= high) and value == value

    def _span(self) -> str:
        if self.low is None or self.high is None:
            return "a number" if self.low is None else f"at least {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


def _nothing(channels: int, values: Values) -> int:  # noqa: ARG001
    return 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One activation: its formula, its module, its parameters and its source.

    Attributes:
        target: `module:Class` of the module that `build` constructs.
        formula: In LaTeX.
        year: Year of the source; 0 if there is none.
        learned: It has parameters, which are trained with the network.
        phases: It collects statistics of its input before its parameters train.
        unphased_by: The parameter that removes the phases if it is not None.
        shares: What its learned parameters may belong to, the default first; empty if there
            are none.
        starts: For each function it may replace, the `initial` it starts as: the function
            itself if the activation can represent it, else the nearest start.
        nearest: The same for tuning trained weights, if the start differs then: there a start
            near the replaced function matters more than one that learns well.
        default_initial: The start if none is given.
        paper_initial: The start of the entry's own paper.
        channels_first_only: It averages over positions, which leaks the future if positions
            are tokens.
        pointwise: An output depends on its own position alone, so it is causal.
        rank: The number of dimensions that its input must have; None for any.
        flops: Operations per element in the forward pass: arithmetic, comparisons and
            selections count 1, elementary functions (exp, tanh, sin, erf, ...) 10. Work that
            does not grow with the positions is not counted.
        kept: Bytes per element of a float32 input that the plain module keeps for backward.
        limits: The limits of the formula at minus and plus infinity, with the default
            parameters; NaN for none.
        size: Computes the number of learned parameters from the number of channels (1 if the
            layer shares them) and the values of the parameters.
        tied: All sites of a network with this activation have the same parameter values.
        gate: As an original in a network, it is more often a gate than an activation.
        standard: A search that names no choices offers it.
        interpretation: What is unknown of its source and how it was read; None if nothing.
    """

    name: str
    target: str
    formula: str
    source: str
    year: int
    parameters: tuple[Parameter, ...] = ()
    learned: bool = False
    phases: bool = False
    unphased_by: str | None = None
    shares: tuple[Share, ...] = ()
    starts: Mapping[str, str] = field(default_factory=dict)
    nearest: Mapping[str, str] = field(default_factory=dict)
    default_initial: str | None = None
    paper_initial: str | None = None
    channels_first_only: bool = False
    pointwise: bool = True
    rank: int | None = None
    flops: int = 1
    kept: int = 4
    limits: tuple[float, float] = (0.0, float("inf"))
    size: Callable[[int, Values], int] = _nothing
    tied: Literal["network"] | None = None
    gate: bool = False
    standard: bool = False
    interpretation: str | None = None

    def load(self) -> Any:
        """Import and return the module class. This is the only step that needs torch."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def learned_parameters(self) -> dict[str, int]:
        """Numbers of learned parameters at a few numbers of channels, with the defaults."""
        spec = ActivationSpec(self.name, share=self.shares[0] if self.shares else "channel")
        return {str(c): self.parameter_count(spec, c) for c in (16, 64, 256)}

    @property
    def initials(self) -> tuple[str, ...]:
        """Every start of this activation."""
        known = [
            *self.starts.values(),
            *self.nearest.values(),
            self.default_initial,
            self.paper_initial,
        ]
        return tuple(dict.fromkeys(name for name in known if name is not None))

    def parameter(self, name: str) -> Parameter:
        """Return the parameter called `name`, or raise `BadParameter`."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(p.name for p in self.parameters) or "none: it has no parameters"
        raise BadParameter(self.name, name, name, f"one of its parameters ({known})")

    def values(self, spec: ActivationSpec) -> dict[str, Scalar]:
        """Return the value of every parameter: the spec's, else the default."""
        given = {p.name: (p, spec.params.get(p.name, p.default)) for p in self.parameters}
        # 1 and 1.0 are the same where any number is allowed.
        return {
            name: float(value) if p.kind is float and isinstance(value, int) else value
            for name, (p, value) in given.items()
        }

    def arguments(
        self, spec: ActivationSpec, *, channels: int, channel_dim: int
    ) -> dict[str, Scalar]:
        """Return the keyword arguments of the module's constructor for `spec`.

        These are the channels if it learns, the parameters, `share` if there is a choice, and
        `initial` if it has starts.
        """
        arguments: dict[str, Scalar] = {}
        if self.learned:
            arguments |= {"channels": channels, "channel_dim": channel_dim}
        arguments |= spec.params
        if len(self.shares) > 1:
            arguments["share"] = spec.share
        if self.initials:
            arguments["initial"] = spec.initial or self.default_initial
        return arguments

    def parameter_count(self, spec: ActivationSpec, channels: int) -> int:
        """Return the number of learned parameters of `spec` at a site of `channels` channels."""
        width = 1 if spec.share == "layer" and len(self.shares) > 1 else channels
        return self.size(width, self.values(spec))

    def has_phases(self, spec: ActivationSpec) -> bool:
        """Whether `spec` collects statistics before it trains."""
        return self.phases and (
            self.unphased_by is None or self.values(spec)[self.unphased_by] is None
        )


def hidden_width(channels: int, reduction: int, rule: str = "at_least_4") -> int:
    """Return the hidden width of a small network over channels.

    Args:
        rule: `at_least_4` for `max(channels // reduction, 4)`; `official` for the rule in
            the code of Meta-ACON's authors, `max(channels // reduction, reduction)`.
    """
    return max(channels // reduction, reduction if rule == "official" else 4)
