"""The documents that describe a network's activations: data only, without torch.

They are plain frozen dataclasses, because a bare GPU machine may have torch and numpy alone.
Where pydantic is installed it validates them (`TypeAdapter`), with unknown keys forbidden.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

Share = Literal["channel", "layer"]
Scalar = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class ActivationSpec:
    """One activation by name, with all that is needed to build it.

    `initial` names the function a learned activation starts as; None means the entry's own
    default start. `share` says whether learned parameters belong to a channel or to the layer.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    name: str
    params: Mapping[str, Scalar] = field(default_factory=dict)
    share: Share = "channel"
    initial: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a network a call of an activation is; with it, it is replaced without a search.

    Attributes:
        owner: Path of the module whose forward passes number the calls.
        target: Path of the activation module; None for a functional call.
        function: Catalogue name of the function that the network itself calls.
        number: Which call of the target, or of the function, in a pass of the owner; from 1.
        in_place: The input is overwritten, and something besides the result reads it.
        traceable: A compiler sees the call.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    owner: str
    target: str | None
    function: str
    number: int
    in_place: bool = False
    traceable: bool = True

    @property
    def id(self) -> str:
        """The site's id."""
        if self.target is None:
            return f"{self.owner}:{self.function}@{self.number}"
        return self.target if self.number == 1 else f"{self.target}@{self.number}"

    @property
    def path(self) -> str:
        """The path of the module called, or of the one that calls a function."""
        return self.owner if self.target is None else self.target


@dataclass(frozen=True, slots=True)
class Site:
    """One call of an activation in a network.

    Attributes:
        id: `path`, `path@2` for the second call of a shared module, `owner:relu@1` for a
            functional call; the root's id is `:relu@1`.
        rank: Number of dimensions of the input.
        channels: Size of dimension `channel_dim`.
        channel_dim: 1 for `(N, C, *)`, -1 for channels last in transformers.
        original: Catalogue name of the activation the network came with.
        original_params: Its parameters, where they are not the entry's defaults.
        stage: Index of the maximal run of sites of equal spatial size, as text, or the first
            path component where there is no space.
        block: The site's path up to its last number.
        place: Where the call is; None where nobody has looked.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    id: str
    rank: int
    channels: int
    channel_dim: int
    original: str
    stage: str
    block: str
    original_params: Mapping[str, Scalar] = field(default_factory=dict)
    place: Place | None = None

    @property
    def original_spec(self) -> ActivationSpec:
        """The activation the network came with."""
        return ActivationSpec(self.original, self.original_params)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """The ordered sites of a network, and the calls of activations that nothing could reach.

    Attributes:
        gates: Calls of functions that are gates more often than activations (sigmoid, tanh,
            hardsigmoid); sites of a search only where it names them.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    sites: tuple[Site, ...]
    unreachable: tuple[str, ...] = ()
    gates: tuple[Site, ...] = ()

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of every site's id, rank, channels, dimension, original.

        The original's parameters follow where it has any that are not the defaults.
        """
        rows: list[list[Any]] = [
            [s.id, s.rank, s.channels, s.channel_dim, s.original]
            + ([dict(s.original_params)] if s.original_params else [])
            for s in self.sites
        ]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Training:
    """Hyperparameters beside the activations: factors of the recipe of the task and network.

    `realign_after` is the share of the optimizer steps that a phased activation spends on
    collecting statistics.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    learning_rate_factor: float = 1.0
    activation_learning_rate_factor: float = 1.0
    realign_after: float = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """One complete assignment of activations to sites, and the training hyperparameters."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    sites: Mapping[str, ActivationSpec]
    training: Training = field(default_factory=Training)


@dataclass(frozen=True, slots=True)
class ActivationConfig:
    """What a user downloads: a candidate, the network it was found on, and where it is from.

    Attributes:
        candidate: The activations and the training hyperparameters.
        task: The search's task, as it was submitted.
        plan: The sites it was found on; applying it elsewhere is an error that lists them.
        fingerprint: The plan's.
        provenance: Search, trial, seed, versions, metrics and verdict.
        version: Rises only when an old reader would misread the document.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    candidate: Candidate
    task: Mapping[str, Any]
    plan: SitePlan
    fingerprint: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: Literal[1] = 1


def to_data(document: Any) -> Any:
    """Return a document as plain JSON data."""
    return json.loads(json.dumps(asdict(document), allow_nan=False))


def canonical_json(data: Any) -> str:
    """Return the one JSON text of `data`: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
