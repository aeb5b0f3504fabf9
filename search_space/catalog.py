"""Every activation a search may choose, as data. Names torch modules without importing them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from search_space.errors import BadParameter, UnfitActivation, UnknownActivation
from search_space.spec import ActivationSpec, Scalar, Share, Site


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an activation: a keyword argument of its module's constructor."""

    name: str
    default: Scalar
    low: float
    high: float
    meaning: str

    def check(self, activation: str, value: Any) -> None:
        """Raise `BadParameter` unless `value` has the default's type and lies in the range."""
        kind = type(self.default)
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or isinstance(value, bool) is not (kind is bool):
            raise BadParameter(activation, self.name, value, f"of type {kind.__name__}")
        if not self.low <= float(value) <= self.high:
            span = f"between {self.low:g} and {self.high:g}"
            raise BadParameter(activation, self.name, value, span)


@dataclass(frozen=True, slots=True)
class Entry:
    """One choice: what it computes, where its module lives, what may be tuned, where it is from.

    Attributes:
        target: `module:Class` of the module that `build` constructs.
        formula: In LaTeX.
        learned: It has parameters of its own, trained with the network.
        phases: It collects statistics of its input before its parameters train.
        shares: What its learned parameters may belong to; empty where there are none.
        starts: For each function it may replace, the `initial` it starts as: itself where the
            activation can represent the function, else the nearest start.
        default_initial: The start used where none is asked for.
        paper_initial: The start of the entry's own paper.
        channels_first_only: It averages over positions, which leaks the future where
            positions are tokens.
    """

    name: str
    target: str
    formula: str
    source: str
    year: int
    parameters: tuple[Parameter, ...] = ()
    learned: bool = False
    phases: bool = False
    shares: tuple[Share, ...] = ()
    starts: Mapping[str, str] = field(default_factory=dict)
    default_initial: str | None = None
    paper_initial: str | None = None
    channels_first_only: bool = False

    def load(self) -> Any:
        """Import the module class. This is the only step that needs torch."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)

    @property
    def initials(self) -> tuple[str, ...]:
        """Every start this activation has."""
        known = [*self.starts.values(), self.default_initial, self.paper_initial]
        return tuple(dict.fromkeys(name for name in known if name is not None))

    def parameter(self, name: str) -> Parameter:
        """Return the parameter called `name`, or raise `BadParameter`."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(p.name for p in self.parameters) or "none: it has no parameters"
        raise BadParameter(self.name, name, name, f"one of its parameters ({known})")


def check(spec: ActivationSpec) -> Entry:
    """Return the entry of `spec`, or raise what is wrong with it."""
    entry = lookup(spec.name)
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
    if entry.channels_first_only and site.channel_dim != 1:
        raise UnfitActivation(entry.name, site.id, "channels in dimension 1")


def initial_for(entry: Entry, *, original: str, policy: str) -> str | None:
    """Return the concrete start of an activation that replaces `original`.

    Args:
        policy: `original` (start as what is replaced) or `paper` (the paper's own start).
    """
    if policy == "paper":
        return entry.paper_initial
    return entry.starts.get(original, entry.default_initial)


def lookup(name: str) -> Entry:
    """Return the entry called `name`, or raise `UnknownActivation`."""
    try:
        return CATALOG[name]
    except KeyError:
        raise UnknownActivation(name, tuple(CATALOG)) from None


_SCALARS = ("relu", "silu", "gelu", "gelu_tanh")

_ENTRIES = (
    Entry(
        "relu",
        "search_space.activations.fixed:ReLU",
        r"\max(x, 0)",
        "Nair and Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, ICML",
        2010,
    ),
    Entry(
        "silu",
        "search_space.activations.fixed:SiLU",
        r"x \, \sigma(x)",
        "Elfwing, Uchibe and Doya, Sigmoid-Weighted Linear Units, Neural Networks 107",
        2018,
    ),
    Entry(
        "gelu",
        "search_space.activations.fixed:GELU",
        r"x \, \Phi(x)",
        "Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv 1606.08415",
        2016,
    ),
    Entry(
        "gelu_tanh",
        "search_space.activations.fixed:GELUTanh",
        r"\tfrac{x}{2} (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3)))",
        "Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv 1606.08415",
        2016,
    ),
    Entry(
        "pwlu",
        "search_space.activations.pwlu:PWLU",
        r"Y_i + (x - B_i) K_i \text{ for } B_i \le x < B_{i+1}",
        "Zhou, Zhu and Zhong, Learning Specialized Activation Functions with the Piecewise "
        "Linear Unit, ICCV, arXiv 2104.03693",
        2021,
        parameters=(Parameter("segments", 16, 2, 64, "number N of equal intervals"),),
        learned=True,
        phases=True,
        shares=("channel", "layer"),
        starts={name: name for name in _SCALARS},
        default_initial="relu",
        paper_initial="relu",
    ),
    Entry(
        "acon_c",
        "search_space.activations.acon:AconC",
        r"(p_1 - p_2) x \, \sigma(\beta (p_1 - p_2) x) + p_2 x",
        "Ma, Zhang, Liu and Sun, Activate or Not: Learning Customized Activation, CVPR, "
        "arXiv 2009.04759",
        2021,
        learned=True,
        shares=("channel", "layer"),
        starts={name: "silu" for name in _SCALARS},
        default_initial="silu",
        paper_initial="paper",
    ),
    Entry(
        "meta_acon",
        "search_space.activations.acon:MetaAcon",
        r"(p_1 - p_2) x \, \sigma(\beta_c(x) (p_1 - p_2) x) + p_2 x, \quad "
        r"\beta_c(x) = \sigma(W_1 W_2 \operatorname{mean}_{h,w} x)",
        "Ma, Zhang, Liu and Sun, Activate or Not: Learning Customized Activation, CVPR, "
        "arXiv 2009.04759",
        2021,
        parameters=(
            Parameter("reduction", 16, 1, 256, "channels per hidden unit of the small network"),
        ),
        learned=True,
        shares=("channel",),
        starts={name: "silu" for name in _SCALARS},
        default_initial="silu",
        paper_initial="paper",
        channels_first_only=True,
    ),
)

CATALOG: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def hidden_width(channels: int, reduction: int) -> int:
    """Return the hidden width of Meta-ACON's small network: `max(channels // reduction, 4)`."""
    return max(channels // reduction, 4)
